"""A search space of a user's own, as a document: stages of blocks with the options of their parameters."""

from __future__ import annotations

import json
from functools import cached_property, lru_cache
from hashlib import blake2b
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from search_spaces import SPACES, get_space
from search_spaces.architecture import Option, SearchSpace
from search_spaces.definition_build import build_space
from search_spaces.definition_fields import (
    Channels,
    Depth,
    Flag,
    Name,
    Parameter,
    Part,
    Resolution,
    Stride,
    Whole,
    Width,
    refused,
)
from search_spaces.staged import StagedSpace

MEMO_LIMIT = 5_000
"""Block graphs that a space keeps: a process may hold several spaces of users."""


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class BlockDefinition(_Document):
    """A block, and beside its name its parameters: each one value, or a list of options to choose from."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Parameter]

    block: Part

    @property
    def parameters(self) -> dict[str, tuple[Option, ...]]:
        return dict(self.__pydantic_extra__)


def _sorted(blocks: dict[str, BlockDefinition]) -> dict[str, BlockDefinition]:
    """In an order that does not depend on how the definition was written."""
    return dict(sorted(blocks.items()))


class StageDefinition(_Document):
    """A run of layers, and beside these fields the parameters of its block or blocks.

    ``block`` is the block of every layer; with ``blocks`` each layer chooses one of them, by label. ``channels`` is
    multiplied by the width (unless ``scaled`` is false), rounded to ``channel_divisor``, and at least
    ``min_channels``. The first layer has the ``stride``. ``single``: one layer, with the stage's own name. ``tied``:
    all layers make the same choices.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Parameter]

    name: Part
    block: Part | None = None
    blocks: (
        Annotated[dict[Part, BlockDefinition], Field(min_length=1, max_length=16), AfterValidator(_sorted)] | None
    ) = None
    channels: Channels | None = None
    stride: Stride = 1
    depth: Depth = (1,)
    single: Flag = False
    tied: Flag = False
    scaled: Flag = True
    min_channels: Whole = 0
    channel_divisor: Annotated[Whole, Field(ge=1)] = 8

    @property
    def parameters(self) -> dict[str, tuple[Option, ...]]:
        return dict(self.__pydantic_extra__)

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.block is None) == (self.blocks is None):
            raise ValueError("give either block or blocks: a name, or a mapping of labels to blocks")
        if self.single and self.depth != (1,):
            raise ValueError("single and a depth contradict each other: a single stage is one layer, leave depth out")
        return self


class SpaceDefinition(_Document):
    """A staged search space: a chain of stages, then global average pooling and a linear layer.

    ``width`` multiplies the channels, ``resolution`` is the height and width of the input (absent: the data set's).
    Names of blocks and of their parameters are checked when the space is built, not here.
    """

    name: Name
    description: Annotated[str, Field(strict=True, max_length=2000)] = ""
    width: Width = (1.0,)
    resolution: Resolution | None = None
    stages: Annotated[tuple[StageDefinition, ...], Field(min_length=1, max_length=64)]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        seen: set[str] = set()
        for i, stage in enumerate(self.stages):
            if stage.name in seen:
                raise refused(
                    "is the name of a stage before it", "each stage its own name", stage.name, "stages", i, "name"
                )
            seen.add(stage.name)
        return self

    @cached_property
    def document(self) -> dict[str, Any]:
        """The definition as JSON with every field: the same for every way to write it, in any order of keys."""
        found: dict[str, Any] = _plain(self.model_dump(mode="json", exclude_none=True))
        return found

    @cached_property
    def canonical(self) -> str:
        """What makes the networks, as one line of JSON: the document without its description."""
        made = {key: value for key, value in self.document.items() if key != "description"}
        return json.dumps(made, sort_keys=True, separators=(",", ":"))

    @property
    def key(self) -> str:
        """``NAME@DIGEST``: the name of the space in architectures and profiles, which tells definitions apart."""
        return f"{self.name}@{blake2b(self.canonical.encode(), digest_size=6).hexdigest()}"

    def space(self) -> StagedSpace:
        """The search space, made anew. Raises: InvalidSpec naming the field, what it may be, and the nearest name."""
        return build_space(self, MEMO_LIMIT)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SpaceDefinition) and self.canonical == other.canonical

    def __hash__(self) -> int:
        return hash(self.canonical)


def _plain(value: Any) -> Any:
    """JSON in which 1.0 is written 1."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


SpaceReference = str | SpaceDefinition
"""A named space, or a definition. Plain data that crosses processes."""


def read_reference(value: Any) -> SpaceReference:
    """The validator of a field that holds a name or a definition: its complaints name the path in the definition."""
    if isinstance(value, SpaceDefinition):
        return value
    if isinstance(value, dict):
        return SpaceDefinition.model_validate(value)
    if isinstance(value, str) and len(value) <= 200:
        return value
    allowed = "the name of a space in double quotes, or a definition in braces"
    raise refused("is neither the name of a space nor a definition", allowed, value)


def space_of(reference: SpaceReference) -> SearchSpace:
    """The space that is meant, made once per process.

    Raises: UnknownName with the nearest known name; InvalidSpec where a definition cannot be built.
    """
    return _made(reference) if isinstance(reference, SpaceDefinition) else get_space(reference)


@lru_cache(maxsize=8)
def _made(definition: SpaceDefinition) -> StagedSpace:
    return definition.space()


def is_built_in(name: str) -> bool:
    """Whether the name is that of a space in ``SPACES``, with or without options in brackets behind it."""
    return name.partition("[")[0] in SPACES


def space_name(reference: SpaceReference) -> str:
    """The name under which architectures and profiles know the space, without building it."""
    return reference.key if isinstance(reference, SpaceDefinition) else reference
