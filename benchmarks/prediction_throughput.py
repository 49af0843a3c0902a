"""Latency predictions a second, one thread, against running the network and against summing a dictionary of blocks.

    python -m benchmarks.prediction_throughput [--space S] [--device D] [--profile FILE] [--json]

``warm``: graphs of random architectures, built beforehand, whose blocks were all met before; nothing is memoised for
a whole network. ``warm_whole``: sampling, graph and prediction of new architectures after ``--networks`` others filled
the memo, so that few blocks are new. ``cold_whole``: the same with the memo of the space emptied before each
network and a predictor that has seen one. ``analytic``: ``warm`` for a device of the catalogue. ``blocks``: the floor,
a look-up and an addition for each block of networks whose blocks are known. ``network``: one network after the other
run once on the device. Best of ``--rounds`` short rounds, because other processes only ever slow a round down; a
network's time is the mean of all. Without ``--profile`` the device is profiled for ``--minutes``: how good the
predictions are does not matter here.
"""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.latency_accuracy import task_of
from latency_models.analytic import analytic_predictor
from latency_models.device import parse_device
from latency_models.kernels import units
from latency_models.measure import LocalTimer, measure_latency_ms
from latency_models.predictors import LatencyPredictor
from latency_models.profile import Profile, load_profile, profile_device
from latency_models.timing import Effort, Workload
from search_spaces import SPACES, SearchSpace, Task, get_space
from search_spaces.deploy import deploy
from search_spaces.errors import InvalidSpec, NasError
from search_spaces.graph import Graph

GOAL = 20_000
_RUN = 12  # networks that are run
_COLD_ROUNDS = 3
MEANING = {
    "warm": "prediction, warm memo",
    "warm_whole": "sampling, graph and prediction, warm memo",
    "cold_whole": "the same, memo emptied",
    "analytic": "prediction for {analytic}, warm memo",
    "blocks": "sum over a dictionary of blocks",
    "network": "running the network once",
}


def per_second(work: Callable[[int], object], count: int, rounds: int) -> float:
    """The best rate of ``work``, which gets the number of the round and does ``count`` things."""
    best = float("inf")
    for number in range(rounds):
        start = time.perf_counter()
        work(number)
        best = min(best, time.perf_counter() - start)
    return count / best


def rates(profile: Profile, analytic: str, networks: int, rounds: int) -> dict[str, float]:
    """Predictions a second, each way."""
    space, task, rng = get_space(profile.space), profile.task, np.random.default_rng(0)
    predictor, share, few = profile.predictor(), max(1, networks // 40), max(1, networks // 100)

    def whole(with_: LatencyPredictor, count: int, forget: bool = False) -> None:
        for _ in range(count):
            if forget:
                space.memo.entries.clear()  # type: ignore[attr-defined]
            with_.predict(space.graph(space.sample(rng), task))

    def fresh() -> list[list[Graph]]:
        """New graph objects of new architectures, always the same, for each round."""
        own = np.random.default_rng(1)
        return [[space.graph(space.sample(own), task) for _ in range(share)] for _ in range(rounds)]

    strangers = [profile.predictor() for _ in range(_COLD_ROUNDS)]
    for stranger in strangers:
        whole(stranger, 1)  # what it works out once
    found = {"cold_whole": per_second(lambda number: whole(strangers[number], few, True), few, _COLD_ROUNDS)}
    whole(predictor, networks)
    found["warm_whole"] = per_second(lambda _: whole(predictor, share), share, rounds)
    found["warm"] = _warm(predictor, fresh, share, rounds)
    arithmetic = analytic_predictor(analytic)
    if arithmetic is None:
        raise InvalidSpec(f"{analytic} is no device of the catalogue", hint="see hwnas devices", field="analytic")
    whole(arithmetic, networks)
    found["analytic"] = _warm(arithmetic, fresh, share, rounds)
    found["blocks"] = _blocks(fresh(), rounds)
    return found


def _warm(predictor: LatencyPredictor, fresh: Callable[[], list[list[Graph]]], share: int, rounds: int) -> float:
    """On graphs that were not predicted themselves, after others of the same blocks."""

    def predict(graphs: list[Graph]) -> None:
        for graph in graphs:
            predictor.predict(graph)

    for graphs in fresh():
        predict(graphs)
    new = fresh()
    return per_second(lambda number: predict(new[number]), share, rounds)


def _blocks(graphs: list[list[Graph]], rounds: int) -> float:
    names = [[[unit.key for unit in units(graph)] for graph in share] for share in graphs]
    table = {name: 1.0 for share in names for network in share for name in network}

    def work(number: int) -> None:
        for network in names[number]:
            total = 0.0
            for name in network:
                total += table[name]

    return per_second(work, len(names[0]), rounds)


def network_ms(space: SearchSpace, task: Task, timer: LocalTimer) -> float:
    """The mean latency of some random networks, measured."""
    rng = np.random.default_rng(2)
    graphs = [deploy(space.graph(space.sample(rng), task))[0] for _ in range(_RUN)]
    measured = measure_latency_ms([Workload(graph) for graph in graphs], timer, effort=Effort(visits=20))
    return float(np.mean([estimate.value for estimate in measured]))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    timer = LocalTimer(parse_device(options.device))
    if options.profile is not None:
        profile = load_profile(options.profile, hashlib.sha256(options.profile.read_bytes()).hexdigest())
        if (profile.space, profile.device) != (options.space, timer.device):
            raise InvalidSpec(
                f"{options.profile} is a profile of {profile.device.name} on {profile.space}",
                hint=f"--space {profile.space} --device {profile.device.name}",
                field="profile",
            )
    else:
        space = get_space(options.space)
        profile = profile_device(timer, space, task_of(options.space), minutes=options.minutes)
    found = rates(profile, options.analytic, options.networks, options.rounds)
    ms = network_ms(get_space(profile.space), profile.task, timer)
    return {
        "space": profile.space,
        "device": profile.device.name,
        "analytic_device": options.analytic,
        "units": len(profile.units),
        "per_second": {name: _short({**found, "network": 1e3 / ms}[name]) for name in MEANING},
        "network_ms": ms,
        "goal": GOAL,
        "passed": found["warm"] >= GOAL,
    }


def _short(rate: float) -> float:
    return round(rate) if rate > 100 else round(rate, 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="mobilenet_v2", choices=SPACES, metavar="NAME")
    parser.add_argument("--device", default="local-onnxruntime", metavar="NAME")
    parser.add_argument("--analytic", default="phone_cpu", metavar="NAME", help="a device of the catalogue")
    parser.add_argument("--profile", type=Path, metavar="FILE", help="a finished profile of this space and device")
    parser.add_argument("--minutes", type=float, default=0.3, help="time for a profile where none is given")
    parser.add_argument("--networks", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    options = parser.parse_args()
    try:
        found = measure(options)
    except NasError as error:
        Console(stderr=True).print(str(error), markup=False, highlight=False)
        return 2
    if options.json:
        print(json.dumps(found))
        return 0
    table = Table(f"{found['space']}, {found['device']}", "a second", title="one thread")
    table.columns[1].justify = "right"
    for name, meaning in MEANING.items():
        table.add_row(meaning.format(analytic=options.analytic), f"{found['per_second'][name]:,}")
    console = Console()
    console.print(table)
    console.print(f"goal {GOAL:,} predictions a second with a warm memo: {'met' if found['passed'] else 'missed'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
