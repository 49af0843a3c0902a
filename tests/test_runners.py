"""Both runners against one suite, and what only Ray has: workers that die, and processes to end."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support_runners import smallest_params
from support_service import SPACE

from nas.jobs import RungResult, ScoreJob, ScoreResult, TrainJob
from nas.runners import RUNNERS, Runner, make_runner
from nas.runners.job_book import MAX_DEATHS, JobBook
from nas.runners.scratch import scratch_folder
from nas.spec import Training
from search_spaces.definition import SpaceDefinition, SpaceReference
from search_spaces.errors import NasError, UnknownName

HERE = Path(__file__).parent
PATHS = {"score_path": "support_runners:score", "train_path": "support_runners:train"}
TOTAL_EPOCHS = 5


@pytest.fixture(scope="module")
def ray_runner() -> Iterator[Runner]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(HERE))
        with make_runner("ray", cpus=2, **PATHS) as runner:
            yield runner


@pytest.fixture(params=list(RUNNERS))
def runner(request: pytest.FixtureRequest) -> Runner:
    if request.param == "ray":
        shared: Runner = request.getfixturevalue("ray_runner")
        return shared
    return make_runner(request.param, **PATHS)


def score_jobs(*texts: str) -> list[ScoreJob]:
    return [ScoreJob("space", text, "digits", ("params",), 0) for text in texts]


class Ladder:
    """Rung 1 for every trial, then the last rung for the ``keep`` most accurate; fewer numbers are better."""

    def __init__(
        self, folder: Path, kinds: list[str], keep: int = 0, epochs: int = 2, space: SpaceReference = "space"
    ) -> None:
        self.folder, self.kinds, self.keep, self.epochs, self.space = folder, kinds, keep, epochs, space
        self.results: dict[tuple[int, int], RungResult] = {}
        self.order: list[tuple[int, int]] = []

    def next_jobs(self) -> list[TrainJob]:
        open_jobs = [self.job(n, 1) for n in range(len(self.kinds)) if (n, 1) not in self.results]
        if open_jobs:
            return open_jobs
        alive = [r for (_, rung), r in self.results.items() if rung == 1 and r.error is None]
        best = sorted(alive, key=lambda r: -r.accuracy)[: self.keep]
        return [self.job(r.number, 2) for r in best if (r.number, 2) not in self.results]

    def job(self, number: int, rung: int) -> TrainJob:
        epochs = self.epochs if rung == 1 else TOTAL_EPOCHS
        folder = self.folder / f"trial-{number}"
        kind = self.kinds[number]
        return TrainJob(number, rung, self.space, kind, "digits", epochs, TOTAL_EPOCHS, Training(), 0, folder)

    def on_result(self, result: RungResult) -> None:
        assert threading.current_thread() is threading.main_thread()
        assert (result.number, result.rung) not in self.results
        self.results[result.number, result.rung] = result
        self.order.append((result.number, result.rung))

    def log(self, number: int, word: str) -> list[list[str]]:
        """The lines of the trial's log that begin with ``word``, split and without it."""
        file = self.folder / f"trial-{number}" / "log"
        lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
        return [line[1:] for line in lines if line[0] == word]

    def epochs_of(self, number: int) -> list[int]:
        return [int(epoch) for (epoch,) in self.log(number, "epoch")]


def never() -> bool:
    return False


def test_scores_come_in_the_order_of_the_jobs(runner: Runner) -> None:
    texts = [str(i) for i in range(50)]
    texts[7] = "raise"
    results = runner.score(score_jobs(*texts), never)
    assert [r.proxies.get("params") for r in results] == [None if i == 7 else float(i) for i in range(50)]
    assert results[7].error is not None
    assert "no such network" in results[7].error


def test_scoring_that_is_stopped_returns_the_first_results(runner: Runner) -> None:
    polls = iter([False, False, False])
    results = runner.score(score_jobs(*(str(i) for i in range(500))), lambda: next(polls, True))
    assert len(results) < 500
    assert [r.proxies["params"] for r in results] == list(range(len(results)))
    # and the runner is still of use
    assert len(runner.score(score_jobs("1", "2"), never)) == 2


def test_jobs_bring_the_definition_of_their_space(runner: Runner, tmp_path: Path) -> None:
    own = SpaceDefinition.model_validate(SPACE)
    params = smallest_params(own)
    (scored,) = runner.score([ScoreJob(own, "space", "digits", ("params",), 0)], never)
    assert scored.proxies == {"params": float(params)}
    ladder = Ladder(tmp_path, ["space"], space=own)
    runner.train(ladder.next_jobs, ladder.on_result, never)
    assert ladder.log(0, "params") == [[str(params)]]


def test_scoring_nothing(runner: Runner) -> None:
    assert runner.score([], never) == []


def test_a_ladder_climbs_and_trains_nothing_twice(runner: Runner, tmp_path: Path) -> None:
    ladder = Ladder(tmp_path, ["ok"] * 5, keep=3)
    runner.train(ladder.next_jobs, ladder.on_result, never)
    assert sorted(ladder.order[:5]) == [(n, 1) for n in range(5)]
    assert sorted(ladder.order[5:]) == [(n, 2) for n in range(3)]
    for number in range(5):
        assert ladder.epochs_of(number) == list(range(1, TOTAL_EPOCHS + 1 if number < 3 else 3))
        assert [rung for rung, _ in ladder.log(number, "start")] == (["1", "2"] if number < 3 else ["1"])
    assert ladder.results[1, 2] == RungResult(1, 2, TOTAL_EPOCHS, 0.5, 0.0, 0.0)
    assert {p.name for p in tmp_path.iterdir()} == {f"trial-{n}" for n in range(5)}


def test_scoring_goes_on_between_jobs_and_while_others_train(runner: Runner, tmp_path: Path) -> None:
    ladder = Ladder(tmp_path, ["ok"] * 5, keep=1)
    scores: list[ScoreResult] = []

    def next_jobs() -> list[TrainJob]:
        scores.extend(runner.score(score_jobs(str(len(scores))), never))
        return ladder.next_jobs()

    runner.train(next_jobs, ladder.on_result, never)
    assert len(ladder.order) == 6
    assert [each.proxies["params"] for each in scores] == list(range(len(scores)))
    assert len(scores) > 5


def test_an_exception_in_training_is_a_result(runner: Runner, tmp_path: Path) -> None:
    ladder = Ladder(tmp_path, ["ok", "raise", "ok"], keep=3)
    runner.train(ladder.next_jobs, ladder.on_result, never)
    failed = ladder.results[1, 1]
    assert failed.error is not None
    assert failed.error.startswith("ValueError: loss is not finite (support_runners.py:")
    assert failed.accuracy == 0
    assert len(ladder.log(1, "start")) == 1
    assert set(ladder.results) == {(0, 1), (1, 1), (2, 1), (0, 2), (2, 2)}


def test_no_jobs_is_no_work(runner: Runner, tmp_path: Path) -> None:
    ladder = Ladder(tmp_path, [])
    runner.train(ladder.next_jobs, ladder.on_result, never)
    assert ladder.order == []


def test_stopping_hands_nothing_over_and_the_next_run_continues(runner: Runner, tmp_path: Path) -> None:
    ladder = Ladder(tmp_path, ["slow", "slow"], epochs=25)
    runner.train(ladder.next_jobs, ladder.on_result, stop_after_epoch(ladder, 0, 2))
    assert ladder.order == []
    reached = len(ladder.epochs_of(0))
    assert 2 <= reached < 25
    assert {p.name for p in tmp_path.iterdir()} <= {"trial-0", "trial-1"}
    ladder.epochs = reached + 1
    runner.train(ladder.next_jobs, ladder.on_result, never)
    assert ladder.results[0, 1].error is None
    assert ladder.epochs_of(0) == list(range(1, reached + 2))


@pytest.mark.parametrize("which", ["on_result", "next_jobs"])
def test_an_error_of_the_caller_ends_the_run_as_it_is(runner: Runner, tmp_path: Path, which: str) -> None:
    ladder = Ladder(tmp_path, ["ok", "slow"], epochs=25)

    class Broken(Exception):
        pass

    def breaks(*_: Any) -> Any:
        raise Broken(which)

    def breaks_later() -> list[TrainJob]:
        return breaks() if ladder.order else ladder.next_jobs()

    calls = (ladder.next_jobs, breaks) if which == "on_result" else (breaks_later, ladder.on_result)
    with pytest.raises(Broken, match=which):
        runner.train(*calls, never)
    assert len(ladder.order) == (which == "next_jobs")
    assert len(ladder.epochs_of(1)) < 25


def stop_after_epoch(ladder: Ladder, number: int, epoch: int) -> Callable[[], bool]:
    return lambda: len(ladder.epochs_of(number)) >= epoch


def test_a_killed_worker_is_replaced_and_its_rung_continued(ray_runner: Runner, tmp_path: Path) -> None:
    ladder = Ladder(tmp_path, ["slow", "ok"], keep=1, epochs=3)
    killed: list[int] = []

    def kill_once() -> bool:
        if not killed and len(ladder.epochs_of(0)) == 2:
            killed.append(int(ladder.log(0, "start")[0][1]))
            os.kill(killed[0], signal.SIGKILL)
        return False

    ray_runner.train(ladder.next_jobs, ladder.on_result, kill_once)
    starts = ladder.log(0, "start")
    assert killed
    assert [rung for rung, _ in starts] == ["1", "1", "2"]
    assert str(killed[0]) not in [pid for _, pid in starts[1:]]
    assert ladder.epochs_of(0) == list(range(1, TOTAL_EPOCHS + 1))
    assert all(result.error is None for result in ladder.results.values())
    assert set(ladder.results) == {(0, 1), (1, 1), (0, 2)}


def test_a_job_whose_workers_all_die_fails_after_a_bounded_number_of_times(tmp_path: Path) -> None:
    ladder = Ladder(tmp_path, ["die", "ok"])
    book = JobBook(ladder.next_jobs, ladder.on_result)
    other = ladder.job(1, 1)
    book.start(other)
    starts = 0
    while (job := book.peek()) is not None and starts < 10:
        assert job == ladder.job(0, 1)
        book.start(job)
        book.died(job, "killed")
        starts += 1
    assert starts == MAX_DEATHS + 1
    assert ladder.results[0, 1].error == f"its worker died {MAX_DEATHS + 1} times, last: killed"
    assert book.running == {1: other}


def test_a_job_that_does_not_stop_is_killed(ray_runner: Runner, tmp_path: Path) -> None:
    ladder = Ladder(tmp_path, ["stuck"])
    ray_runner.train(ladder.next_jobs, ladder.on_result, lambda: bool(ladder.log(0, "start")))
    assert ladder.order == []
    worker = Path("/proc") / ladder.log(0, "start")[0][1]
    for _ in range(100):
        if not worker.exists():
            break
        time.sleep(0.1)
    assert not worker.exists()


def test_a_scoring_worker_that_dies_is_replaced(ray_runner: Runner, tmp_path: Path) -> None:
    texts = [str(i) for i in range(24)]
    texts[3] = f"die-once {tmp_path / 'trace'}"
    texts[10] = "die"
    results = ray_runner.score(score_jobs(*texts), never)
    expected = [float(i) for i in range(24)]
    expected[3] = -1.0
    assert [r.proxies.get("params") for r in results] == [None if i == 10 else v for i, v in enumerate(expected)]
    assert results[10].error is not None
    assert "died 3 times" in results[10].error


def test_a_worker_computes_on_one_thread(ray_runner: Runner) -> None:
    (result,) = ray_runner.score(score_jobs("threads"), never)
    assert result.proxies == {"params": 1.0}


def test_a_second_ray_in_one_process_is_refused(ray_runner: Runner) -> None:
    with pytest.raises(NasError, match="already"), make_runner("ray"):
        pass
    assert len(ray_runner.score(score_jobs("1"), never)) == 1


WHOLE_LIFE = """
import json, os, signal, socket, sys
from pathlib import Path

from nas.jobs import TrainJob
from nas.runners import make_runner
from nas.spec import Training

folder = Path(sys.argv[1])
job = TrainJob(0, 1, "space", "die-once", "digits", 4, 4, Training(), 0, folder / "trial-0")
results = []
before = signal.getsignal(signal.SIGTERM), dict(os.environ)
with make_runner("ray", cpus=1, temp_dir=Path(sys.argv[2]), train_path="support_runners:train") as runner:
    import psutil  # comes with Ray

    children = psutil.Process().children(recursive=True)
    sockets = [c.laddr.ip for p in children for c in p.net_connections("tcp") if c.status == "LISTEN"]
    runner.train(lambda: [] if results else [job], results.append, lambda: False)
    children += psutil.Process().children(recursive=True)
left = psutil.wait_procs(children, timeout=10)[1]
print(json.dumps({
    "started": len(children),
    "addresses": sorted(set(sockets)),
    "left": [p.name() for p in left],
    "errors": [r.error for r in results],
    "kept": before == (signal.getsignal(signal.SIGTERM), dict(os.environ)),
}))
"""


def test_ray_starts_private_and_silent_and_leaves_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="r") as own_files:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", WHOLE_LIFE, str(tmp_path), own_files],
            env={**os.environ, "PYTHONPATH": str(HERE), "HOME": str(home)},
            cwd=HERE.parent,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert list(Path(own_files).iterdir()) == []
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["errors"] == [None]
    assert told["started"] > 3
    assert told["left"] == []
    assert told["kept"]
    assert {address.removeprefix("::ffff:") for address in told["addresses"]} == {"127.0.0.1"}
    assert [p.name for p in tmp_path.iterdir()] == ["trial-0"]


def test_an_abandoned_scratch_folder_is_removed_and_one_in_use_is_not(tmp_path: Path) -> None:
    with scratch_folder(tmp_path) as in_use:
        abandoned = tmp_path / f"{in_use.name}-abandoned"
        abandoned.mkdir()
        (abandoned / "in-use").touch()
        foreign = tmp_path / "nas-ray-foreign"
        foreign.mkdir()
        for folder in (in_use, abandoned, foreign):
            os.utime(folder, (0, 0))
        with scratch_folder(tmp_path) as own:
            assert {*tmp_path.iterdir()} == {in_use, own, foreign}
    assert {*tmp_path.iterdir()} == {foreign}


@pytest.mark.parametrize(
    ("name", "options"),
    [("local", {"address": "head:6379"}), ("local", {"cpus": 4}), ("ray", {"address": "ray://head:10001"})],
)
def test_options_without_use_are_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(NasError) as caught:
        make_runner(name, **options)
    assert caught.value.hint
    assert caught.value.field in options


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1", "head:port"])
def test_a_cluster_that_does_not_answer_is_named(address: str) -> None:
    with pytest.raises(NasError, match="no Ray cluster answers at") as caught, make_runner("ray", address=address):
        pass
    assert caught.value.field == "address"


def test_an_unknown_runner_is_refused() -> None:
    with pytest.raises(UnknownName, match="unknown runner 'rey'"):
        make_runner("rey")
