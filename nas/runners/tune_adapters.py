"""Thin adapters between the book of jobs and Ray Tune.

One Tune trial is one of our trials, one Tune iteration one rung. The searcher only deals out trial numbers, the
scheduler only starts and pauses, both as the ``JobBook`` says. Tune resumes and retries nothing; it never saves a
trial.
"""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

import ray
from ray.tune import Stopper
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from nas.jobs import RungResult, TrainJob
from nas.runners.calls import cause_of
from nas.runners.job_book import JobBook

STOP_GRACE_S = 3.0
"""So long a job may take to end its batch once it is told to stop; then its worker is killed.

It continues from its checkpoint another time, as after any other death.
"""


class TuneBook:
    """The state that the three adapters share.

    A trial whose rung has ended keeps its actor while nothing else needs it (``idle``): Tune would end all actors
    but one wherever nothing is ready to run, as between two rungs, and a fresh actor costs seconds of imports.
    """

    def __init__(self, book: JobBook, slots: int, train_path: str, stop_file: Path) -> None:
        self.book = book
        self.slots = slots
        self.train_path = train_path
        self.stop_file = stop_file
        self.trials: dict[int, Trial] = {}
        self.new: deque[Trial] = deque()
        self.idle: list[Trial] = []
        self.stopping = False
        self.failure: Exception | None = None

    def next_job(self) -> TrainJob | None:
        """The job to start, if one may start and a CPU is free for it."""
        if self.stopping or len(self.book.running) >= self.slots:
            return None
        try:
            return self.book.peek()
        except Exception as error:
            self.fail(error)
            return None

    def start(self, job: TrainJob) -> dict[str, Any]:
        """Marks the job as running; returns its Tune configuration."""
        self.book.start(job)
        return {"job": job, "train_path": self.train_path, "stop_file": str(self.stop_file)}

    def end(self, job: TrainJob, result: RungResult | None, cause: str = "") -> None:
        """Hands a result over, or notes a ``cause`` for which the job has to start again."""
        try:
            if result is None and not self.stopping:
                self.book.died(job, cause)
            else:
                self.book.end(job, result)
        except Exception as error:
            self.book.running.pop(job.number)
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """Ends the run; Tune would wrap what a callback raises, so the error waits until Tune has returned."""
        self.stopping = True
        self.failure = self.failure or error


class JobSearcher(Searcher):
    """Deals out the trial numbers that Tune has not seen."""

    def __init__(self, run: TuneBook) -> None:
        super().__init__()
        self._run = run

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        if self._run.stopping:
            return Searcher.FINISHED  # type: ignore[return-value]
        # where idle actors are handed on, one trial a step: the scheduler frees one actor at a time
        if self._run.new and self._run.idle:
            return None
        job = self._run.next_job()
        return None if job is None or job.number in self._run.trials else self._run.start(job)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Results go through the scheduler."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing to save: our own history is what a search resumes from."""


class JobScheduler(TrialScheduler):
    """Starts what the book names and pauses what waits for its next rung."""

    def __init__(self, run: TuneBook) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._run = run

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        self._run.trials[trial.config["job"].number] = trial
        self._run.new.append(trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        run = self._run
        if run.new:
            trial = run.new.popleft()
        else:
            job = run.next_job()
            if job is None or job.number not in run.trials:
                return None
            trial = run.trials[job.number]
            trial.set_config(run.start(job))  # type: ignore[no-untyped-call]
        if run.idle:
            giver = trial if trial in run.idle else run.idle[0]
            run.idle.remove(giver)
            self._pause(tune_controller, giver)
        return trial

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        self._run.end(trial.config["job"], result["outcome"], "training returned without a result")
        self._run.idle.append(trial)
        return str(TrialScheduler.NOOP)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        # the Tune trial is lost with its worker; the searcher deals the number out again
        job = trial.config["job"]
        self._run.trials.pop(job.number)
        self._run.end(job, None, _cause_of_death(trial))

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Trials end only with the run."""

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """Trials end only with the run."""

    def debug_string(self) -> str:
        return f"{len(self._run.book.running)} jobs running"

    @staticmethod
    def _pause(tune_controller: Any, trial: Trial) -> None:
        """Gives the trial's actor to the next trial that starts."""
        tune_controller.pause_trial(trial, should_checkpoint=False)
        if trial.status == Trial.RUNNING:
            # its actor has died since: Tune ignored the call
            tune_controller._set_trial_status(trial, Trial.PAUSED)


class BookStopper(Stopper):
    """Ends the Tune run when the book is done, or soon after ``should_stop`` turned true."""

    def __init__(self, run: TuneBook, should_stop: Callable[[], bool]) -> None:
        self._run = run
        self._should_stop = should_stop
        self._deadline: float | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles the stopper into a state that nobody reads, and ``should_stop`` may not pickle."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        run = self._run
        run.stopping = run.stopping or self._should_stop()
        if not run.stopping:
            return not run.book.running and run.next_job() is None
        if self._deadline is None:
            self._deadline = monotonic() + STOP_GRACE_S
            # where it cannot be written the workers are killed
            with suppress(OSError):
                run.stop_file.touch()
        late = monotonic() > self._deadline
        for number in list(run.book.running):
            worker = run.trials[number].temporary_state.ray_actor
            if late and worker is not None:
                ray.kill(worker, no_restart=True)
            if late or worker is None:
                run.book.running.pop(number)
        return not run.book.running


def _cause_of_death(trial: Trial) -> str:
    """What Tune noted about the failure in the trial's local folder."""
    if trial.pickled_error_file is None:
        return "unknown cause"
    # safe to unpickle: this process's own Tune wrote it into the runner's scratch folder, which only its user can open
    return cause_of(ray.cloudpickle.loads(Path(trial.pickled_error_file).read_bytes()))
