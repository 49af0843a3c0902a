"""``POST /v1/estimates``: one network on one device, without a search."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from api.schemas import EstimateOut
from search_spaces.definition import SpaceReference, read_reference


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Size = Annotated[int, Field(ge=1, le=16_384)]


class TaskIn(_In):
    """The network's input as (channels, height, width), and its number of outputs."""

    input_shape: Annotated[tuple[Size, Size, Size], Field(description="channels, height, width")]
    classes: Annotated[int, Field(ge=2, le=100_000)]


class EstimateIn(_In):
    """A network, as text or by the name of a preset, and a device.

    ``dataset`` or ``task`` say what goes in and out. Without them it is what the device was last profiled for
    in this space; on an analytic device 3 channels, at the space's own resolution or 224.
    """

    space: Annotated[SpaceReference, BeforeValidator(read_reference)]
    architecture: Annotated[str, Field(min_length=1, max_length=20_000)] | None = None
    preset: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    device: Annotated[str, Field(min_length=1, max_length=200)]
    dataset: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    task: TaskIn | None = None


class _Out(BaseModel):
    model_config = ConfigDict(from_attributes=True, frozen=True)


class RoofOut(_Out):
    """The ceilings of the device. ``source`` predicted: the best rates of the kernels in its profile, which the
    hardware may exceed; analytic: stated. ``ridge`` is the MACs per byte from which on the peak is in reach.
    """

    peak_macs_per_s: float
    bytes_per_s: float
    ridge: float
    source: Literal["predicted", "analytic"]


class LayerOut(_Out):
    """A kernel of the deployed network in one call of the device, named after its first node.

    ``macs`` and ``bytes`` (activations read and written, weights read) are exact counts; what follows from the roof
    has the roof's source.
    """

    name: str
    nodes: list[str]
    family: str
    latency_ms: EstimateOut
    share: float
    macs: int
    bytes: int
    intensity: float
    macs_per_s: float
    attainable_macs_per_s: float
    bound: Literal["compute", "memory"]
    ideal_ms: EstimateOut
    gap: EstimateOut | None
    efficiency: float


class WaterlineOut(_Out):
    """The layers that compute as bars, most efficient first, one entry a bar: ``layers`` are positions in the list
    of layers, ``start`` and ``width`` shares of all MACs, ``ideal_ms`` the time at the device's peak. ``level`` is
    the efficiency of the whole network.
    """

    layers: list[int]
    start: list[float]
    width: list[float]
    ideal_ms: list[float]
    latency_ms: list[float]
    efficiency: list[float]
    level: float


class MemoryOut(_Out):
    """Bytes in one precision, batch 1. ``peak_bytes`` is the most of the activations that is alive at once: at
    ``step`` of ``steps`` (from 1), which runs ``nodes``.
    """

    peak_bytes: EstimateOut
    step: int
    steps: int
    nodes: list[str]
    weight_bytes: EstimateOut


class LimitOut(_Out):
    """A limit that the device states: ``flash_bytes``, ``ram_bytes`` or ``macs``, and what the network takes of it."""

    name: str
    value: EstimateOut
    max: int
    fits: bool


class EstimateDocument(_Out):
    """One network on one device. Times are of one call with the device's batch.

    ``overhead_ms`` is what the call takes beside its layers; ``ideal_ms`` the layers' sum under the roof; ``gap``
    the latency over it; ``peak_gap`` the latency over the time of all MACs at the peak. ``report`` is how well the
    device's profile predicted networks that it had not seen, null for an analytic device.
    """

    space: str
    architecture: str
    architecture_id: str
    preset: str | None
    input_shape: list[int]
    classes: int
    device: str
    runtime: str
    precision: str
    threads: int
    batch_size: int
    latency_ms: EstimateOut
    overhead_ms: EstimateOut
    ideal_ms: EstimateOut
    gap: EstimateOut | None
    peak_gap: EstimateOut | None
    energy_mj: EstimateOut | None
    params: EstimateOut
    macs: EstimateOut
    memory: dict[Literal["fp32", "int8"], MemoryOut]
    limits: list[LimitOut]
    roof: RoofOut
    layers: list[LayerOut]
    waterline: WaterlineOut
    report: dict[str, Any] | None
