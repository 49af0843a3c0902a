"""What is checked before a search is accepted: names, devices, the space and the data, and the bounds."""

from collections.abc import Callable, Mapping
from typing import Any

from latency_models.device import parse_device
from latency_models.profile import Profile
from nas.baselines import baseline_architectures
from nas.datasets import get_dataset_facts
from nas.feasibility import Feasibility
from nas.on_device import ANALYTIC, AnalyticOf, Predictor, check_metrics, limits
from nas.proxies import PROXIES
from nas.proxies.nodes import HAS
from nas.scores import SCORES
from nas.spec import SearchSpec
from nas.strategies import STRATEGIES
from search_spaces import SearchSpace, Task
from search_spaces.architecture import check_task
from search_spaces.definition import SpaceDefinition, SpaceReference, space_of
from search_spaces.definition_check import check_definition
from search_spaces.errors import InvalidSpec, UnknownName, nearest

ProfileOf = Callable[[str, str, Task], Profile | None]
"""The stored profile of (device, space, task), or None."""


def task_of(spec: SearchSpec) -> Task:
    """The task that the data set poses. Raises: UnknownName."""
    return get_dataset_facts(spec.dataset).task


def check_spec(
    spec: SearchSpec,
    profile_of: ProfileOf,
    analytic_of: AnalyticOf = ANALYTIC,
    check_device: Callable[[str], object] = parse_device,
) -> None:
    """Raises where a search could not run; nothing of it has been written by then.

    Raises: UnknownName (space, score, strategy, data set; with the nearest known name),
    DeviceUnavailable (by ``check_device``: unknown, or of an agent that there is not),
    InvalidSpec (a space of the user's own that cannot be built, a score that its networks cannot have, a metric that a
    device does not state, or a bound below the least value of the space, with that value), Infeasible (bounds, those
    of a device's memory among them, that together leave nothing), CorruptFile (the user's file of devices). A latency
    bound on a device without a profile is checked after profiling.
    """
    task = task_of(spec)
    check_space(spec.space, task)
    space = space_of(spec.space)
    known(spec.strategy, STRATEGIES, "strategy", "strategy")
    known(spec.score, SCORES, "score", "score")
    check_task(space, task)
    check_score(spec.score, space, task)
    baseline_architectures(spec.baselines, space)
    predictors: dict[str, Predictor] = {}
    for device in spec.devices:
        profile = profile_of(device, space.name, task)
        if (analytic := analytic_of(device)) is not None:
            predictors[device] = analytic
            continue
        check_device(device)
        if profile is not None:
            predictors[device] = profile.predictor()
    check_metrics(spec, predictors)
    Feasibility(space, task, spec.constraints, predictors, limits(predictors)).check(spec.seed)


def check_space(reference: SpaceReference, task: Task) -> None:
    """Raises InvalidSpec where a definition has a network that cannot be built for the task."""
    if not isinstance(reference, SpaceDefinition):
        return
    try:
        check_definition(reference, task)
    except InvalidSpec as error:
        raise InvalidSpec(f"space.{error.message}", hint=error.hint, field=f"space.{error.field}") from None


def check_score(score: str, space: SearchSpace, task: Task) -> None:
    """Raises InvalidSpec where a proxy of the score needs what no network of the space has."""
    if SCORES[score].partial:
        return
    graphs = [space.graph(arch, task) for arch in space.cover()]
    for proxy in SCORES[score].proxies:
        for need in PROXIES[proxy].needs:
            what, has = HAS[need]
            if not any(map(has, graphs)):
                said = f"{score} reads {proxy}, which needs" if proxy != score else f"{proxy} needs"
                message = f"{said} {what}, and no network of {space.name} has any"
                raise InvalidSpec(message, hint="synflow suits every network", field="score")


def known(name: str, names: Mapping[str, Any], what: str, field: str) -> None:
    """Raises UnknownName with the nearest known name."""
    if name not in names:
        raise UnknownName(f"unknown {what} {name!r}", hint=nearest(name, list(names)), field=field)
