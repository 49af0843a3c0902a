"""The local runner: one job at a time, in this process."""

from collections.abc import Callable, Sequence
from typing import Self

from nas.jobs import RungResult, ScoreJob, ScoreResult, TrainJob
from nas.runners import calls
from nas.runners.wave import Wave
from search_spaces.errors import NasError


class LocalRunner:
    """Sequential. ``cpus`` is the number of threads of each job.

    Raises: NasError if an address is given.
    """

    def __init__(
        self, cpus: int = 1, address: str | None = None, *, score_path: str = calls.SCORE, train_path: str = calls.TRAIN
    ) -> None:
        if address is not None:
            raise NasError(
                f"the local runner works in its own process and cannot use the cluster at {address!r}",
                hint='leave out the address, or choose the runner "ray"',
                field="address",
            )
        self._cpus = cpus
        self._score_path = score_path
        self._train_path = train_path

    def __enter__(self) -> Self:
        import torch

        self._threads_before = torch.get_num_threads()
        torch.set_num_threads(self._cpus)
        return self

    def __exit__(self, *exception: object) -> None:
        import torch

        torch.set_num_threads(self._threads_before)

    def score(self, jobs: Sequence[ScoreJob], should_stop: Callable[[], bool]) -> list[ScoreResult]:
        results: list[ScoreResult] = []
        for job in jobs:
            if should_stop():
                break
            results.append(calls.score(self._score_path, job))
        return results

    def train(
        self,
        next_jobs: Callable[[], Sequence[TrainJob]],
        on_result: Callable[[RungResult], None],
        should_stop: Callable[[], bool],
    ) -> None:
        wave = Wave(next_jobs, on_result)
        while not should_stop() and (job := wave.peek()) is not None:
            wave.start(job)
            result = calls.train(self._train_path, job, should_stop)
            wave.end(job, result)
            if result is None:
                break
