"""The Ray runner: scoring on a pool of actors, training with Ray Tune, on this machine or on a cluster."""

import logging
import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from nas.jobs import RungResult, ScoreJob, ScoreResult, TrainJob
from nas.runners import calls
from nas.runners.job_book import JobBook
from nas.runners.scratch import scratch_folder
from search_spaces.errors import NasError

if TYPE_CHECKING:
    from nas.runners.ray_score import ScorePool

PROBE_S = 5.0
SHORT_PATH = Path("/tmp")
"""Not the system's folder for such files, which on some machines is too long to hold sockets."""
OBJECT_STORE_BYTES = 200 * 2**20
"""Little goes through Ray's object store: jobs and results; weights are in the trials' folders."""

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # log_to_driver leaves out the raylet's own messages, such as the death of a worker; this leaves out all
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
    "RAY_ENABLE_AUTO_CONNECT": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
    "TUNE_RESULT_BUFFER_LENGTH": "1",
}
"""No statistics sent, no start of its own accord, nothing printed, no log files, no change of the working folder,
no saved state, no result held back.
"""


@cache
def _private() -> dict[str, str]:
    """Ray listens on the loopback address alone, and to this process alone; both are read once a process."""
    return {
        # the name is Ray's: off, a local node takes 127.0.0.1 instead of the machine's address
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "OMP_NUM_THREADS": "1",
    }


class RayRunner:
    """Starts Ray on this machine, or connects to the cluster at ``address`` ("host:port", or "auto").

    ``cpus`` is the number of jobs at a time on this machine (default: all its CPUs); a cluster knows its own. Each
    job has one CPU and one thread. On a cluster the trials' folders must be on storage that all its nodes share.
    ``temp_dir`` takes Ray's own files while it runs; it has to be a short path, for the sockets in it.

    Raises: NasError where Ray cannot be started or reached.
    """

    def __init__(
        self,
        cpus: int | None = None,
        address: str | None = None,
        temp_dir: Path | None = None,
        *,
        score_path: str = calls.SCORE,
        train_path: str = calls.TRAIN,
    ) -> None:
        if address is not None and address.startswith("ray://"):
            raise NasError(
                f"the Ray client address {address!r} cannot be used: Tune has to run in this process",
                hint="start a Ray node beside this process (ray start --address=HOST:6379) and use the address auto",
                field="address",
            )
        self._cpus = cpus or os.cpu_count() or 1
        self._address = address
        self._temp_dir = temp_dir
        self._score_path = score_path
        self._train_path = train_path
        self._pool: ScorePool | None = None
        self._started = ExitStack()

    def __enter__(self) -> Self:
        if self._address is not None and self._address != "auto":
            _probe(self._address)
        with ExitStack() as stack:
            stack.enter_context(_environment(QUIET))
            self._folder = stack.enter_context(scratch_folder(self._temp_dir or SHORT_PATH))
            if self._address is None:
                stack.enter_context(_environment(_private()))
            stack.enter_context(_silence())
            _refuse_second()
            stack.callback(self._stop_ray)
            self._start_ray()
            self._started = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._started.close()

    def score(self, jobs: Sequence[ScoreJob], should_stop: Callable[[], bool]) -> list[ScoreResult]:
        from nas.runners.ray_score import ScorePool

        if self._pool is None:
            self._pool = ScorePool(self.slots, self._score_path)
        results = self._pool.run(jobs, should_stop)
        if len(results) < len(jobs):
            self._pool = None
        return results

    def train(
        self,
        next_jobs: Callable[[], Sequence[TrainJob]],
        on_result: Callable[[RungResult], None],
        should_stop: Callable[[], bool],
    ) -> None:
        book = JobBook(next_jobs, on_result)
        first = book.peek()
        if first is None or should_stop():
            return
        # beside the trial's folder, because every node of a cluster sees that place
        stop_file = first.folder.absolute().parent / f".stop-{uuid4().hex}"
        try:
            self._run_tune(book, stop_file, should_stop)
        finally:
            stop_file.unlink(missing_ok=True)

    def _run_tune(self, book: JobBook, stop_file: Path, should_stop: Callable[[], bool]) -> None:
        """One call of ``train`` is one Tune run."""
        from ray import tune

        from nas.runners.ray_trainable import RungTrainable
        from nas.runners.tune_adapters import BookStopper, JobScheduler, JobSearcher, TuneBook

        run = TuneBook(book, self.slots, self._train_path, stop_file)
        with _environment({"TUNE_MAX_PENDING_TRIALS_PG": str(run.slots)}), _kept_signal_handlers():
            tune.run(
                RungTrainable,
                name=f"train-{uuid4().hex[:8]}",
                search_alg=JobSearcher(run),
                scheduler=JobScheduler(run),
                stop=BookStopper(run, should_stop),
                num_samples=-1,
                resources_per_trial={"cpu": 1},
                storage_path=str(self._folder / "tune"),
                trial_dirname_creator=lambda trial: f"trial-{trial.trial_id}",
                reuse_actors=True,
                max_failures=0,
                raise_on_failed_trial=False,
                verbose=0,
            )
        if run.failure is not None:
            raise run.failure

    def _start_ray(self) -> None:
        import ray

        options: dict[str, Any] = {"address": self._address}
        if self._address is None:
            options = {
                "address": "local",
                "num_cpus": self._cpus,
                "object_store_memory": OBJECT_STORE_BYTES,
                "include_dashboard": False,
                "_temp_dir": str(self._folder),
            }
        try:
            with _kept_signal_handlers():
                ray.init(**options, namespace="nas", log_to_driver=False, logging_level=logging.ERROR)
        except (RuntimeError, OSError, ValueError, ray.exceptions.RayError) as error:
            place = "on this machine" if self._address is None else f"at {self._address}"
            hint = "see that the cluster runs" if self._address else "give it a short temp_dir with free space"
            raise NasError(f"Ray {place} did not start: {calls.cause_of(error)}", hint=hint) from error

    def _stop_ray(self) -> None:
        import ray

        self._close_pool()
        with _kept_signal_handlers():
            ray.shutdown()

    def _close_pool(self) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    @property
    def slots(self) -> int:
        """The processors of the cluster."""
        import ray

        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        return max(1, int(resources.get("CPU", 1)))


def _probe(address: str) -> None:
    """Raises: NasError where nothing listens; Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), PROBE_S).close()
    except (OSError, ValueError) as error:
        raise NasError(
            f"no Ray cluster answers at {address!r}: {error}",
            hint="the address is HOST:PORT of a running head node (ray start --head), or auto",
            field="address",
        ) from error


def _refuse_second() -> None:
    import ray  # first imported here, because it reads some of the environment as it is imported

    if ray.is_initialized():
        raise NasError("Ray runs in this process already", hint="use one Ray runner after the other")


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables, as they were before afterwards."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _kept_signal_handlers() -> Iterator[None]:
    """This process's own signal handlers, which Ray and Tune replace."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)


@contextmanager
def _silence() -> Iterator[None]:
    """Tune logs as errors what our results carry: a trial whose worker died."""
    logger = logging.getLogger("ray.tune")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
