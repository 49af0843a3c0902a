"""What agents are asked and answered over HTTP."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Out(BaseModel):
    model_config = ConfigDict(from_attributes=True, frozen=True)


class AgentIn(_In):
    name: str


class AgentCreated(_Out):
    name: str
    token: str


class AgentOut(_Out):
    """An agent. What it said of its machine is null before it first connects; ``start`` is what starts it."""

    name: str
    connected: bool
    last_seen_at: datetime | None
    cpu: str | None
    runtime_version: str | None
    threads: int | None
    created_at: datetime
    start: str


class HelloIn(_In):
    """What an agent runs on; ``runtime_version`` is that of ONNX Runtime."""

    protocol: int
    cpu: Annotated[str, Field(min_length=1, max_length=300)]
    runtime_version: Annotated[str, Field(min_length=1, max_length=64)]
    threads: Annotated[int, Field(ge=1, le=4096)]


class HelloOut(_Out):
    protocol: int


class JobOut(_Out):
    """A file to time; ``size`` in bytes."""

    id: str
    sha256: str
    size: int


class BatchOut(_Out):
    """Files that are loaded together and visited in turn: ``visits`` times each, for ``visit_s`` seconds a visit."""

    lease: str
    lease_s: float
    threads: int
    batch_size: int
    visits: int
    visit_s: float
    seed: int
    jobs: list[JobOut]


class LeaseOut(_Out):
    batch: BatchOut | None


class RenewIn(_In):
    lease: Annotated[str, Field(max_length=64)]


class RenewOut(_Out):
    held: bool


class ResultIn(_In):
    """Nanoseconds of each run, visit by visit; or why there are none. ``samples`` are checked with the job at hand."""

    lease: Annotated[str, Field(max_length=64)]
    samples: Any = None
    error: Annotated[str, Field(max_length=10_000)] | None = None
