"""Predicted against measured latency on networks that the profile of the device has not seen.

    python -m benchmarks.latency_accuracy [--space S] [--device D] [--networks N] [--minutes M] [--json]

Profiles the device, unless ``--profile`` names the file of a finished profile. Only then, from the SHA-256 of that
file and ``--seed``, comes the seed of the networks that are tried: nothing can be fitted to them. They are chosen
evenly over the logarithm of the predicted latency, from thousands of random, crossed and mutated architectures,
without those that the profile timed. Each is predicted, and timed twice by the same protocol, ``--gap-minutes``
apart: in every of ``--rounds`` rounds another process loads the networks, the faster half twice, visits each
``--visits`` times, and their mean counts. The first timing is what the prediction is compared with;
``repeatability_within_5`` is the share of networks whose second timing agrees with it within 5 %. Below .95 the run is
invalid: the machine, not the prediction, would decide. Both timings are corrected for drift by anchors: networks that
the profile timed, timed again beside the others, show a factor and an offset (``raw``: without them). The baselines are
fitted on the whole networks that the profile timed.

Interrupted, the same command goes on where it was; ``--fresh`` starts anew. The machine should do nothing else.
"""

import argparse
import hashlib
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import Progress

from benchmarks.latency_accuracy_figures import anchors, baselines, judge, show, within
from benchmarks.latency_accuracy_files import FILES, timer_of
from benchmarks.latency_accuracy_networks import choose
from benchmarks.latency_accuracy_run import Job, time_twice, write_whole
from latency_models.device import parse_device
from latency_models.drift import fit_drift
from latency_models.kernel_store import KernelStore
from latency_models.lock import measurement_lock
from latency_models.profile import Profile, load_profile, profile_device, save_profile
from latency_models.timing import Effort
from search_spaces import SPACES, Classification, Task, get_space
from search_spaces.errors import CorruptFile, DeviceUnavailable, InvalidSpec, NasError

TASKS = {
    "mobilenet_v2": Task((3, 224, 224), Classification(1000)),
    "mobilenet_v2_small": Task((1, 8, 8), Classification(10)),
    "nas_bench_201": Task((3, 32, 32), Classification(10)),
}


def task_of(space_name: str) -> Task:
    """The task that a space is meant for: large images where it chooses resolutions, small ones elsewhere."""
    large = bool(get_space(space_name).input_sizes)
    shape, classes = ((3, 224, 224), 1000) if large else ((3, 32, 32), 10)
    return TASKS.get(space_name, Task(shape, Classification(classes)))


class Profiled(NamedTuple):
    """A finished profile, the hash of its file, and how long it took (None where it was given)."""

    profile: Profile
    sha256: str
    seconds: float | None


def profiled(options: argparse.Namespace, folder: Path, console: Console) -> Profiled:
    """The profile that was given, the finished one of the folder, or a new one, which resumes. Raises: NasError."""
    if options.profile is not None:
        return _given(options)
    done, asked = folder / "profile.json", {"minutes": options.minutes, "seed": options.seed}
    try:
        found = json.loads(done.read_text(encoding="utf-8"))
        if found["asked"] == asked:
            return Profiled(load_profile(folder / found["file"], found["sha256"]), found["sha256"], found["seconds"])
    except (CorruptFile, DeviceUnavailable) as error:
        console.print(f"profiling again: {error}")
    except (OSError, ValueError, KeyError, TypeError):
        pass
    timer, started = timer_of(parse_device(options.device), folder / FILES), time.monotonic()
    store = KernelStore(folder / "kernels", timer.device, timer.machine())
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task(f"profiling {options.device} on {options.space}")
        profile = profile_device(
            timer, get_space(options.space), task_of(options.space), store=store, seed=options.seed,
            minutes=options.minutes,
            on_progress=lambda done, total: progress.update(bar, completed=done, total=total),
        )  # fmt: skip
    path, digest = save_profile(profile, folder)
    seconds = time.monotonic() - started
    write_whole(done, json.dumps({"asked": asked, "file": path.name, "sha256": digest, "seconds": seconds}))
    return Profiled(load_profile(path, digest), digest, seconds)


def _given(options: argparse.Namespace) -> Profiled:
    path: Path = options.profile
    if not path.is_file():
        raise InvalidSpec(f"{path} is no file", hint="--profile names the file of a profile", field="profile")
    digest = options.sha256 or hashlib.sha256(path.read_bytes()).hexdigest()
    profile = load_profile(path, digest)
    for what, wanted, is_for in (
        ("space", options.space, profile.space),
        ("device", options.device, profile.device.name),
    ):
        if wanted != is_for:
            raise InvalidSpec(f"{path} is a profile of {what} {is_for}", hint=f"--{what} {is_for}", field=what)
    return Profiled(profile, digest, None)


def seed_of(profile_sha256: str, seed: int) -> int:
    """The seed of the networks that are tried: known only when the profile is finished."""
    return int.from_bytes(hashlib.sha256(f"{profile_sha256}:{seed}".encode()).digest()[:8], "big")


def measure(options: argparse.Namespace, folder: Path, console: Console) -> dict[str, Any]:
    """The whole run; its finished steps are in ``folder``."""
    done = profiled(options, folder, console)
    profile = done.profile
    test_seed = seed_of(done.sha256, options.seed)
    started = time.monotonic()
    with console.status(f"choosing networks by latency; the profile is {done.sha256[:12]}"):
        choice = choose(profile, options.networks, test_seed)
    chosen_s = time.monotonic() - started
    archs, graphs, predicted = zip(*choice.networks, strict=True)
    device, space = profile.device, get_space(profile.space)
    texts = tuple(space.to_string(arch) for arch in archs)
    anchored = anchors(profile)
    value = np.array([p.value for p in predicted])
    expected = np.array([*value, *(record.ms for record in anchored)])
    job = Job(
        profile.space, device.name, profile.task.input_shape, profile.task.head.classes,
        (*texts, *(record.architecture for record in anchored)),
        tuple(np.where(expected < np.median(expected), 2, 1).tolist()),
        Effort(visits=options.visits, chunk=options.chunk), test_seed % 2**32,
    )  # fmt: skip
    first, second = time_twice(job, folder, options.rounds, 60 * options.gap_minutes, console)

    error = np.array([p.error or 0.0 for p in predicted])
    every = [np.array(run.ms) for run in (first, second)]
    raw = [run[: len(texts)] for run in every]
    then = np.array([record.ms for record in anchored])
    drift = [fit_drift(run[len(texts) :], then) for run in every]
    ms = [d.undo(run) for run, d in zip(raw, drift, strict=True)]
    keys = ("architecture", "predicted_ms", "error_ms", "first_ms", "second_ms", "first_raw_ms", "second_raw_ms")
    columns = (texts, value, error, *ms, *raw)
    return {
        "space": profile.space,
        "device": device.name,
        **judge(value, error, *ms),
        "within_5_raw": within(value, raw[0]),
        "repeatability_within_5_raw": within(raw[1], raw[0]),
        "drift": {"first": drift[0], "second": drift[1]},
        "anchors": len(anchored),
        "gap_minutes": round((second.started - first.ended) / 60, 2),
        "baselines": baselines(profile, list(graphs), ms[0]),
        "profile": {
            "sha256": done.sha256, "seconds": done.seconds, "units": len(profile.units),
            "networks": len(profile.networks), "report": dict(profile.report),
        },
        "seed": options.seed,
        "test_seed": test_seed,
        "drawn": choice.drawn,
        "drawn_without_prediction": choice.refused,
        "effort": {
            "rounds": options.rounds, "visits": options.visits, "visit_s": job.effort.visit_s, "chunk": options.chunk,
        },
        "machine": {
            "cpu": profile.cpu, "runtime": device.runtime, "runtime_version": profile.runtime_version,
            "precision": device.precision, "threads": device.threads, "batch_size": device.batch_size,
        },
        "seconds": {
            "profile": done.seconds, "choose": chosen_s,
            "first": first.ended - first.started, "second": second.ended - second.started,
        },
        "rows": [dict(zip(keys, (text, *map(float, row)), strict=True)) for text, *row in zip(*columns, strict=True)],
    }  # fmt: skip


def _options() -> argparse.Namespace:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="mobilenet_v2", choices=SPACES, metavar="NAME")
    parser.add_argument("--device", default="local-onnxruntime", metavar="NAME")
    parser.add_argument("--networks", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=8.0, help="time for the profile")
    parser.add_argument("--profile", type=Path, metavar="FILE", help="a finished profile of this space and device")
    parser.add_argument("--sha256", metavar="HEX", help="the hash that the file of --profile must have")
    parser.add_argument("--gap-minutes", type=float, default=3.0, help="least time between the two timings")
    parser.add_argument("--rounds", type=int, default=8, help="how many processes a timing is made of")
    parser.add_argument("--visits", type=int, default=30, help="how often each network is visited in a round")
    parser.add_argument("--chunk", type=int, default=256, help="how many networks are in memory together")
    parser.add_argument("--cache", type=Path, default=home / "hwnas" / "latency_accuracy", metavar="DIR")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fresh", action="store_true", help="forget what an earlier run has finished")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    options = parser.parse_args()
    for name, least in (
        ("networks", 2),
        ("rounds", 1),
        ("visits", 2),
        ("chunk", 1),
        ("seed", 0),
        ("minutes", 0),
        ("gap_minutes", 0),
    ):
        if not getattr(options, name) >= least:
            parser.error(f"--{name.replace('_', '-')} {getattr(options, name)}: at least {least}")
    if options.sha256 and options.profile is None:
        parser.error("--sha256 belongs to --profile FILE")
    return options


def main() -> int:
    options, console = _options(), Console(stderr=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the process that times ends too
    folder: Path = options.cache / f"{options.space}-{options.device}-{options.seed}"
    try:
        parse_device(options.device)
        folder.mkdir(parents=True, exist_ok=True)
        with measurement_lock(folder.with_suffix(".lock"), wait_s=0):
            if options.fresh:
                shutil.rmtree(folder)
                folder.mkdir()
            found = measure(options, folder, console)
    except NasError as error:
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        console.print("interrupted; the same command goes on from here")
        return 130
    if options.json:
        print(json.dumps(found, allow_nan=False))
    else:
        show(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
