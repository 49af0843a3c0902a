"""The profile of a device: what was timed on it, the calibration, and a report; one JSON file each."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from latency_models.device import Device, cpu_model
from latency_models.predictors.composed import ComposedPredictor
from latency_models.predictors.composition import Composition, Curve
from latency_models.predictors.table import UnitRecord
from latency_models.runtimes import runtime_version
from search_spaces.errors import CorruptFile, DeviceUnavailable, InvalidSpec
from search_spaces.task import Classification, Task

PROFILE_VERSION = 2


@dataclass(frozen=True, slots=True)
class NetworkRecord:
    """A whole network that was timed ``timings`` times, each after loading it, and what a fit without it predicts."""

    architecture: str
    ms: float
    error_ms: float
    left_out_ms: float
    timings: int = 1


@dataclass(frozen=True)
class Profile:
    """Predictions follow from this data alone. ``reference_ms``: what the references took, all times are stated for it.

    ``report`` compares predictions with measurements on networks that the composition was not fitted on.
    """

    device: Device
    space: str
    task: Task
    seed: int
    runtime_version: str
    cpu: str
    reference_ms: tuple[float, ...]
    units: tuple[UnitRecord, ...]
    networks: tuple[NetworkRecord, ...]
    composition: Composition
    report: Mapping[str, Any]
    version: int = PROFILE_VERSION

    def predictor(self) -> ComposedPredictor:
        """A fresh predictor; keep it, for it caches."""
        return ComposedPredictor(self.device, self.units, self.composition)

    def check_machine(self) -> None:
        """Raises DeviceUnavailable if this machine's runtime version or CPU is another than the profile's."""
        here = {"CPU": (cpu_model(), self.cpu)}
        here[f"{self.device.runtime} version"] = (runtime_version(self.device.runtime), self.runtime_version)
        for what, (found, profiled) in here.items():
            if found != profiled:
                raise DeviceUnavailable(
                    f"the profile of {self.device.name} was made with {what} {profiled}, this machine has {found}",
                    hint=f"hwnas profile --device {self.device.name} --space {self.space}",
                )


def save_profile(profile: Profile, folder: Path) -> tuple[Path, str]:
    """Writes the profile whole and returns its path and the SHA-256 of the file (hex)."""
    data = json.dumps(_to_json(profile), sort_keys=True, allow_nan=False, indent=1).encode()
    digest = sha256(data).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{profile.device.name}-{profile.space}-{digest[:12]}.json"
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return path, digest


def load_profile(path: Path, sha256_hex: str, *, check_machine: bool = True) -> Profile:
    """Reads a stored profile.

    Raises: CorruptFile if the file is missing, changed, or of another version; DeviceUnavailable if it was
    made on another machine or runtime version (``check_machine=False`` allows that).
    """
    hint = "delete the file and profile the device again: hwnas profile"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CorruptFile(f"profile {path} cannot be read: {error.strerror}", hint=hint) from None
    if sha256(data).hexdigest() != sha256_hex:
        raise CorruptFile(f"profile {path} is not the file that was written", hint=hint)
    try:
        profile = _from_json(json.loads(data))
    except (KeyError, TypeError, ValueError, AttributeError, InvalidSpec) as error:
        raise CorruptFile(f"profile {path} cannot be read: {error!r}", hint=hint) from None
    if check_machine:
        profile.check_machine()
    return profile


def _to_json(profile: Profile) -> dict[str, Any]:
    return {
        "version": profile.version,
        "device": asdict(profile.device),
        "space": profile.space,
        "task": {"input_shape": list(profile.task.input_shape), "classes": profile.task.head.classes},
        "seed": profile.seed,
        "runtime_version": profile.runtime_version,
        "cpu": profile.cpu,
        "reference_ms": list(profile.reference_ms),
        "units": [asdict(unit) for unit in profile.units],
        "networks": [asdict(network) for network in profile.networks],
        "composition": asdict(profile.composition),
        "report": dict(profile.report),
    }


def _from_json(data: Any) -> Profile:
    if data["version"] != PROFILE_VERSION:
        raise ValueError(f"version {data['version']}, this program reads {PROFILE_VERSION}")
    units = [UnitRecord(**unit) for unit in data["units"]]
    return Profile(
        device=Device(**data["device"]),
        space=data["space"],
        task=Task(tuple(data["task"]["input_shape"]), Classification(data["task"]["classes"])),
        seed=data["seed"],
        runtime_version=data["runtime_version"],
        cpu=data["cpu"],
        reference_ms=tuple(map(float, data["reference_ms"])),
        units=tuple(replace(unit, families=tuple(unit.families)) for unit in units),
        networks=tuple(NetworkRecord(**network) for network in data["networks"]),
        composition=_composition(data["composition"]),
        report=data["report"],
    )


def _composition(data: Any) -> Composition:
    lists = {name: tuple(data[name]) for name in ("coefficients", "points", "pulls")}
    curve = None
    if (stored := data.get("curve")) is not None:
        least_ms, most_ms, coefficients = stored
        curve = Curve(least_ms, most_ms, tuple(coefficients))
    return Composition(**{**data, **lists, "curve": curve})
