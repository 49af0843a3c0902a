"""One network on one device, as the API, the command line and the page of a trial show it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import make_url
from sqlalchemy.orm import Session

from api import agent_store, space_store, store
from api.db import open_database
from api.dependencies import SPACES_LOCK
from api.errors import NotFound
from api.estimate_present import present_estimate
from api.estimate_schemas import EstimateDocument, EstimateIn
from api.profile_store import task_key
from api.settings import Settings
from latency_models.analysis import analyse
from latency_models.analytic import AnalyticPredictor, analytic_predictor
from latency_models.device import parse_device
from latency_models.predictors import LatencyPredictor
from latency_models.profile import load_profile
from latency_models.roofline import Roof, observed_roof
from nas.admission import check_space, task_of
from nas.datasets import DATASETS, get_dataset_facts
from nas.spec import SearchSpec
from search_spaces import Classification, Task
from search_spaces.architecture import Architecture, SearchSpace, check_task
from search_spaces.definition import space_of
from search_spaces.errors import DeviceUnavailable, InvalidSpec
from search_spaces.network_summary import DEFAULT_SIZE, choose

BASES_KEPT = 8
DEFAULT_CLASSES = {"preset": 1000, "architecture": 10}


class Basis(NamedTuple):
    """What estimates on a device rest on; ``report`` is that of its profile, None where it is analytic."""

    predictor: LatencyPredictor
    roof: Roof
    report: Mapping[str, Any] | None = None


_bases: dict[str, Basis] = {}
"""What was read from profiles, by the hash of the file."""


def estimate(session: Session, settings: Settings, asked: EstimateIn) -> EstimateDocument:
    """The network that is asked for on its device.

    Raises: NotFound (device), DeviceUnavailable (no profile: with the command that makes one), UnknownName,
    InvalidSpec, InvalidArchitecture, InvalidGraph, UnsupportedKernel.
    """
    if (asked.architecture is None) == (asked.preset is None):
        hint = "architecture is its text, preset the name of a known network"
        raise InvalidSpec("give either architecture or preset", hint=hint)
    if asked.dataset is not None and asked.task is not None:
        raise InvalidSpec("give either dataset or task", hint="both say what goes in and out")
    reference = space_store.resolve(session, asked.space)
    with SPACES_LOCK:
        space = space_of(reference)
        task = _task(session, settings, asked, space)
        check_space(reference, task)
        check_task(space, task)
        arch = choose(space, arch=asked.architecture, preset=asked.preset)
        return estimate_network(session, settings, space, arch, task, asked.device, preset=asked.preset)


def estimate_here(settings: Settings, asked: Mapping[str, Any]) -> EstimateDocument:
    """As ``estimate``, without a service, from the data folder; nothing is written where there is no database yet."""
    made = settings.database_url is not None or Path(make_url(settings.url).database or "").exists()
    database = open_database(settings.url if made else "sqlite://")
    try:
        with database.read() as session:
            return estimate(session, settings, EstimateIn.model_validate(asked))
    finally:
        database.close()


def estimate_network(
    session: Session,
    settings: Settings,
    space: SearchSpace,
    arch: Architecture,
    task: Task,
    device: str,
    *,
    preset: str | None = None,
) -> EstimateDocument:
    """A network of a space on a device; the caller holds ``SPACES_LOCK``. Raises: as ``estimate``."""
    basis = find_basis(session, settings, space, task, device)
    graph = space.graph(arch, task)
    found = analyse(graph, basis.predictor, basis.roof)
    return present_estimate(space, arch, graph, found, basis.predictor, preset=preset, report=basis.report)


def estimate_trial(
    session: Session, settings: Settings, spec: SearchSpec, architecture: str, device: str
) -> EstimateDocument:
    """A network that a search found, on a device. Raises: as ``estimate``."""
    with SPACES_LOCK:
        space = space_of(spec.space)
        arch = space.from_string(architecture)
        return estimate_network(session, settings, space, arch, task_of(spec), device)


def trial_devices(session: Session, spec: SearchSpec) -> list[str]:
    """The devices on which the networks of a search are shown: those it names, then others with a profile for it."""
    wanted = (spec.space_name, task_key(task_of(spec)))
    profiled = [row.device for row in store.list_profiles(session) if (row.space, row.task) == wanted]
    return list(dict.fromkeys([*spec.devices, *profiled]))


def find_basis(session: Session, settings: Settings, space: SearchSpace, task: Task, device: str) -> Basis:
    """The predictor and the roof of a device for a space and task. Raises: NotFound, DeviceUnavailable."""
    row = store.get_profile(session, device, space.name, task_key(task))
    if row is not None:
        return _profiled(settings.data_dir / row.path, row.sha256, space)
    analytic = _analytic(session, settings, device)
    if analytic is not None:
        return Basis(analytic, analytic.roof)
    others = [p.task for p in store.list_profiles(session) if (p.device, p.space) == (device, space.name)]
    held = f" and {task_key(task)}, only for {', '.join(others)}" if others else ""
    dataset = next((f" --dataset {name}" for name, facts in DATASETS.items() if facts.task == task), "")
    name = space.name.partition("@")[0]  # of a definition: the name under which it is stored
    raise DeviceUnavailable(
        f"{device} has no profile for space {space.name}{held}",
        hint=f"make one: hwnas profile --device {device} --space {name}{dataset}",
        field="device",
    )


def _analytic(session: Session, settings: Settings, name: str) -> AnalyticPredictor | None:
    """The predictor of an analytic device, None for one to be profiled; NotFound for one that nobody could profile."""
    try:
        analytic = analytic_predictor(name, settings.devices_file)
        if analytic is None and not (device := parse_device(name)).is_local:
            agent_store.get_agent(session, device.host)
    except DeviceUnavailable as error:
        raise NotFound(error.message, hint=error.hint, field="device") from None
    return analytic


def _task(session: Session, settings: Settings, asked: EstimateIn, space: SearchSpace) -> Task:
    if asked.task is not None:
        return Task(asked.task.input_shape, Classification(asked.task.classes))
    if asked.dataset is not None:
        return get_dataset_facts(asked.dataset).task
    rows = [p for p in store.list_profiles(session) if (p.device, p.space) == (asked.device, space.name)]
    if rows:
        newest = max(rows, key=lambda row: row.created_at)
        return load_profile(settings.data_dir / newest.path, newest.sha256, check_machine=False).task
    classes = DEFAULT_CLASSES["architecture" if asked.preset is None else "preset"]
    return Task((3, DEFAULT_SIZE, DEFAULT_SIZE), Classification(classes))


def _profiled(path: Path, sha256: str, space: SearchSpace) -> Basis:
    if sha256 not in _bases:
        profile = load_profile(path, sha256, check_machine=False)
        predictor = profile.predictor()
        graphs = [space.graph(space.from_string(network.architecture), profile.task) for network in profile.networks]
        roof = observed_roof([predictor.layers(graph) for graph in graphs], predictor.device)
        if len(_bases) >= BASES_KEPT:
            _bases.clear()
        _bases[sha256] = Basis(predictor, roof, profile.report)
    return _bases[sha256]
