"""The last look at trained trials: latency measured on the device, accuracy on the test part read once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from latency_models.estimate import Source
from latency_models.measure import measure_latency_ms
from latency_models.timing import Timer, Workload
from nas.jobs import TrainJob
from nas.spec import SearchSpec
from nas.trial import Measurement, Trial
from search_spaces import SearchSpace, Task
from search_spaces.deploy import deploy


def measure_trials(
    spec: SearchSpec,
    space: SearchSpace,
    task: Task,
    trials: Sequence[Trial],
    *,
    job_of: Callable[[Trial], TrainJob],
    timer_of: Callable[[str], Timer],
    levels: Mapping[str, Sequence[float]],
    record: Callable[[Sequence[Trial]], None],
    on_progress: Callable[[int, int], None],
    stop_if_asked: Callable[[], None],
    should_stop: Callable[[], bool],
) -> None:
    """Measures what is not measured yet: each trial on each device of the search, and its test accuracy.

    The networks of one device are timed together in interleaved rounds, with their trained weights. On an analytic
    device there is nothing to measure. ``levels``: what the references took when a device was profiled.
    Test accuracy is read for trials of the last rung only; it is shown, and decides nothing.
    """
    steps = len(spec.devices) + 1
    for step, device in enumerate(spec.devices):
        stop_if_asked()
        on_progress(step, steps)
        open_trials = [t for t in trials if not t.is_analytic(device)]
        missing = [t for t in open_trials if t.find("latency_ms", device, source=Source.MEASURED) is None]
        if missing:
            work = [_workload(space, task, trial, job_of(trial)) for trial in missing]
            stop_if_asked()
            estimates = measure_latency_ms(
                work, timer_of(device), level_ms=levels.get(device), seed=spec.seed, should_stop=should_stop
            )
            trials = _with(
                trials,
                {
                    t.number: Measurement("latency_ms", device, t.rung, e.value, e.error, e.source)
                    for t, e in zip(missing, estimates, strict=True)
                },
                record,
            )
    stop_if_asked()
    on_progress(steps - 1, steps)
    from nas.training.train import test_accuracy

    finished = [t for t in trials if t.rung == len(spec.rungs) and t.find("test_accuracy") is None]
    found = {}
    for trial in finished:
        stop_if_asked()
        accuracy, error = test_accuracy(job_of(trial))
        found[trial.number] = Measurement("test_accuracy", None, trial.rung, accuracy, error, Source.MEASURED)
    _with(trials, found, record)
    on_progress(steps, steps)


def _with(
    trials: Sequence[Trial], found: dict[int, Measurement], record: Callable[[Sequence[Trial]], None]
) -> list[Trial]:
    """The trials with new figures, recorded."""
    changed = [
        replace(trial, measurements=(*trial.measurements, found[trial.number])) if trial.number in found else trial
        for trial in trials
    ]
    record([trial for trial in changed if trial.number in found])
    return changed


def _workload(space: SearchSpace, task: Task, trial: Trial, job: TrainJob) -> Workload:
    from nas.training.train import load_trained

    return Workload(*deploy(space.graph(space.from_string(trial.architecture), task), load_trained(job)))
