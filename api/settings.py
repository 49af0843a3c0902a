"""What an operator can set: environment variables with the prefix ``HWNAS_``."""

from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

MIB = 1024 * 1024


class Settings(BaseSettings):
    """Settings of both processes; the defaults need nothing but a writable folder."""

    model_config = SettingsConfigDict(env_prefix="HWNAS_", frozen=True, extra="forbid")

    data_dir: Path = Path("hwnas-data")
    """All files of the service live under this folder."""
    database_url: str | None = None
    """SQLAlchemy address; None: SQLite in ``data_dir``."""
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    runner: Literal["ray", "local"] = "ray"
    ray_address: str | None = None
    """Address of a running Ray cluster; None: start Ray on this machine."""
    ray_cpus: Annotated[int, Field(ge=1)] | None = None
    """Cores that trainings may use on this machine; None: all of them."""
    lease_seconds: Annotated[float, Field(gt=0.5, le=3600)] = 15.0
    """A claim that was not renewed for so long is free for another worker."""
    poll_seconds: Annotated[float, Field(gt=0, le=60)] = 0.5
    """How often an idle worker looks for work."""
    heartbeat_seconds: Annotated[float, Field(gt=0, le=60)] = 2.0
    """How often a worker says that it lives; after five of these it counts as gone."""
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 5
    """Workers that may die in a row on one search or export before it ends FAILED."""
    shutdown_seconds: Annotated[float, Field(gt=0, le=60)] = 6.0
    """How long a worker waits for its jobs to stop by themselves."""
    max_body_bytes: Annotated[int, Field(ge=1024)] = MIB
    devices: Path | None = None
    """File of analytic devices of your own; None: ``devices.yaml`` in ``data_dir``, if it is there."""

    @field_validator("data_dir", "devices")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        # children are started from other folders and must mean the same one
        return None if path is None else path.expanduser().resolve()

    @cached_property
    def url(self) -> str:
        """The SQLAlchemy address in use."""
        return self.database_url or f"sqlite:///{self.data_dir / 'hwnas.sqlite3'}"

    @property
    def worker_timeout_seconds(self) -> float:
        """Age of the last heartbeat from which a worker counts as gone."""
        return 5 * self.heartbeat_seconds

    def search_dir(self, search_id: str) -> Path:
        return self.data_dir / "searches" / search_id

    def export_dir(self, export_id: str) -> Path:
        return self.data_dir / "exports" / export_id

    @property
    def profile_dir(self) -> Path:
        return self.data_dir / "profiles"

    @property
    def devices_file(self) -> Path | None:
        """The file of analytic devices in use beside those of the project."""
        usual = self.data_dir / "devices.yaml"
        return self.devices or (usual if usual.exists() else None)

    @property
    def log_dir(self) -> Path:
        return self.data_dir / "logs"

    def environment(self) -> dict[str, str]:
        """These settings as the environment variables that a child process reads."""
        values = self.model_dump(mode="json", exclude_none=True)
        return {f"HWNAS_{name.upper()}": str(value) for name, value in values.items()}
