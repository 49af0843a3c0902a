"""The local runner: one job at a time, in this process."""

from collections.abc import Callable, Sequence
from typing import Self

from nas.jobs import RungResult, ScoreJob, ScoreResult, TrainJob
from nas.runners import calls
from nas.runners.job_book import JobBook
from search_spaces.errors import NasError


class LocalRunner:
    """Sequential, one thread a job. The options are those that every runner takes.

    Raises: NasError for more than one CPU, or an address.
    """

    def __init__(
        self,
        cpus: int | None = None,
        address: str | None = None,
        *,
        score_path: str = calls.SCORE,
        train_path: str = calls.TRAIN,
    ) -> None:
        for name, value, only in (("cpus", cpus, 1), ("address", address, None)):
            if value not in (None, only):
                raise NasError(
                    f"the local runner does one job at a time in its own process: {name} {value!r} has no use",
                    hint=f'leave out {name}, or choose the runner "ray"',
                    field=name,
                )
        self._score_path = score_path
        self._train_path = train_path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """Nothing was started."""

    @property
    def slots(self) -> int:
        return 1

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
        book = JobBook(next_jobs, on_result)
        while not should_stop() and (job := book.peek()) is not None:
            book.start(job)
            result = calls.train(self._train_path, job, should_stop)
            book.end(job, result)
            if result is None:
                break
