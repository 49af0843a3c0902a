"""The facts of devices that nobody can attach: the catalogue of the project, and a file of the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from search_spaces.complaints import describe
from search_spaces.definition_text import TEXT_BYTES, read_yaml
from search_spaces.errors import CorruptFile, InvalidSpec

BUILT_IN = Path(__file__).with_name("catalogue.yaml")
DEVICE_NAME = r"[a-z][a-z0-9_]{0,49}"
"""A name has no hyphen, which tells it from that of a device that can be measured (``HOST-RUNTIME``)."""

Precision = Literal["fp32", "fp16", "bf16", "int8"]
ELEMENT_BYTES: Mapping[Precision, int] = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1}

Positive = Annotated[float, Field(gt=0, le=1e18, strict=True)]
NotNegative = Annotated[float, Field(ge=0, le=1e18, strict=True)]
Count = Annotated[int, Field(gt=0, le=10**15, strict=True)]
Text = Annotated[str, Field(min_length=1, max_length=2000, strict=True)]


class _Facts(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class MacRates(_Facts):
    """Multiply-accumulates a second that the device sustains, by family of op. ``grouped``: as depthwise if absent."""

    conv: Positive
    depthwise: Positive
    linear: Positive
    matmul: Positive
    grouped: Positive | None = None

    def of(self, family: str) -> float:
        """The rate of a family that multiplies."""
        rate: float | None = getattr(self, family)
        return self.depthwise if rate is None else rate


class OnChip(_Facts):
    """The memory beside the arithmetic, SRAM or cache."""

    capacity_bytes: Count
    bytes_per_s: Positive


class Limits(_Facts):
    """What a network may take at most, in the device's precision and for its batch; absent: no limit is known."""

    flash_bytes: Count | None = None
    ram_bytes: Count | None = None
    macs: Count | None = None


class AccessEnergy(_Facts):
    """Energy by operation and access (Horowitz 2014, ISSCC, "Computing's energy problem"), beside a static power."""

    pj_per_mac: Annotated[dict[Precision, Positive], Field(min_length=1)]
    pj_per_byte_on_chip: NotNegative
    pj_per_byte_off_chip: NotNegative
    static_power_w: NotNegative = 0.0


class AnalyticDevice(_Facts):
    """A device, or a class of devices, by its facts.

    ``precision`` is that of the plain name; others of ``macs_per_s`` are named behind it (``NAME-fp16``).
    ``elements_per_s`` is the rate of ops that do not multiply, such as pooling. ``weights``: ``streamed`` from
    off-chip memory (or flash) in every call, or ``kept`` on the chip as far as they fit beside the activations.
    ``weights_in`` says which limit counts them. ``relative_error`` is the half-width of the 90 % interval as a share
    of the latency, as judged by its author; null where nobody knows. Energy: ``power_w`` or ``energy``, or neither.
    """

    description: Text
    source: Text
    assumes: Text
    precision: Precision
    macs_per_s: Annotated[dict[Precision, MacRates], Field(min_length=1)]
    elements_per_s: Annotated[dict[Precision, Positive], Field(min_length=1)]
    on_chip: OnChip
    off_chip_bytes_per_s: Positive
    weights: Literal["streamed", "kept"]
    weights_in: Literal["flash", "ram"]
    overhead_per_kernel_us: NotNegative
    overhead_per_call_us: NotNegative
    relative_error: Annotated[float, Field(gt=0, le=1, strict=True)] | None
    limits: Limits = Limits()
    power_w: Positive | None = None
    energy: AccessEnergy | None = None

    @field_validator("relative_error", mode="before")
    @classmethod
    def _number(cls, value: object) -> object:
        return float(value) if type(value) is int else value

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.precision not in self.macs_per_s:
            known = ", ".join(self.macs_per_s)
            raise ValueError(f"precision {self.precision} has no macs_per_s: give it, or one of {known} as precision")
        tables: dict[str, Mapping[Precision, object]] = {"elements_per_s": self.elements_per_s}
        if self.energy is not None:
            tables["energy.pj_per_mac"] = self.energy.pj_per_mac
        for name, table in tables.items():
            if set(table) != set(self.macs_per_s):
                raise ValueError(
                    f"{name} and macs_per_s have different precisions: give {', '.join(self.macs_per_s)} in both"
                )
        if self.power_w is not None and self.energy is not None:
            raise ValueError("power_w and energy contradict each other: give one of them, or neither")
        return self

    @property
    def states_energy(self) -> bool:
        return self.power_w is not None or self.energy is not None


class _File(_Facts):
    devices: dict[Annotated[str, Field(pattern=f"^{DEVICE_NAME}$")], AnalyticDevice]


Catalogue = Mapping[str, AnalyticDevice]
"""Devices by name."""


@lru_cache(maxsize=1)
def built_in() -> Catalogue:
    """The devices that come with the project."""
    return parse_catalogue(BUILT_IN.read_bytes(), BUILT_IN.name)


def load_catalogue(own: Path | None = None) -> Catalogue:
    """The devices of the project, then those of the user's own file, which is read whole each time.

    Raises: CorruptFile that names the file, the field at fault and what would be right.
    """
    if own is None:
        return built_in()
    try:
        with own.open("rb") as file:
            text = file.read(TEXT_BYTES + 1)
    except OSError as error:
        raise CorruptFile(f"cannot read {own}: {error.strerror}", hint="HWNAS_DEVICES names a YAML file") from error
    devices = parse_catalogue(text, str(own))
    if taken := sorted({*devices} & {*built_in(), "local"}):
        raise CorruptFile(
            f"{own}: devices.{taken[0]}: the name is taken", hint="give another name", field=f"devices.{taken[0]}"
        )
    return {**built_in(), **devices}


def parse_catalogue(text: str | bytes, origin: str) -> Catalogue:
    """The devices of a YAML text. ``origin`` names it in errors. Raises: CorruptFile."""
    try:
        return _File.model_validate(read_yaml(text)).devices
    except InvalidSpec as error:
        raise CorruptFile(f"{origin}: {error.message}", hint="docs/devices.md has an example") from None
    except ValidationError as error:
        paths = [tuple([part for part in e["loc"] if part != "[key]"]) for e in error.errors()]
        errors = [{**e, "loc": path} for e, path in zip(error.errors(), paths, strict=True)]
        message, hint = describe(errors, _File)
        field = ".".join(map(str, paths[0]))
        raise CorruptFile(
            f"{origin}: {message}", hint=hint or "docs/devices.md describes every field", field=field
        ) from None
