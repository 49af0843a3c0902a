"""Exporters: a trained trial becomes a finished, checked and measured bundle."""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from latency_models.device import parse_device
from latency_models.timing import Timer
from nas.spec import SearchSpec
from nas.trial import Trial
from search_spaces.errors import NasError, UnknownName, nearest


class ExportFailed(NasError):
    """A file that does not agree with the trained network; nothing of it is kept."""


class ExporterFacts(NamedTuple):
    """What an exporter writes, its main file, and where it is implemented."""

    description: str
    file: str
    path: str


EXPORTERS: Mapping[str, ExporterFacts] = {
    "onnx": ExporterFacts("ONNX, float32, any batch size", "model.onnx", "nas.exporters.onnx_bundle:export_onnx"),
}


def known_format(name: str) -> ExporterFacts:
    """The facts of a format. Raises: UnknownName."""
    if name not in EXPORTERS:
        raise UnknownName(f"unknown export format {name!r}", hint=nearest(name, list(EXPORTERS)), field="format")
    return EXPORTERS[name]


def local_timer(device: str) -> Timer:
    """This process as the timer of a device. Raises: DeviceUnavailable for one that is not this machine."""
    from latency_models.measure import LocalTimer

    return LocalTimer(parse_device(device))


def export(
    spec: SearchSpec,
    trial: Trial,
    *,
    workspace: Path,
    folder: Path,
    format: str = "onnx",
    timer_of: Callable[[str], Timer] = local_timer,
) -> dict[str, Any]:
    """Writes the bundle of a trained trial to ``folder``, whole or not at all, and returns its report.

    ``workspace`` is the folder of the search, ``timer_of`` knows who times a device. The report's ``file`` names
    the main file in ``folder``.
    Raises: UnknownName (format), ExportFailed (never trained, or the file differs from the network),
    CorruptFile (the checkpoint cannot be read).
    """
    facts = known_format(format)
    if trial.rung < 1:
        raise ExportFailed(
            f"trial {trial.number} was never trained ({trial.state})", hint="export a trial of the front", field="id"
        )
    module, _, attribute = facts.path.partition(":")
    run: Callable[..., dict[str, Any]] = getattr(import_module(module), attribute)
    return run(spec, trial, workspace=workspace, folder=folder, timer_of=timer_of)
