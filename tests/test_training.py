"""Training: resumed equals uninterrupted, damaged and foreign checkpoints, stops, determinism, the recipe."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from nas.datasets import load_dataset
from nas.jobs import RungResult, TrainJob
from nas.spec import Training
from nas.training import checkpoint, train
from nas.training.images import augment, to_size
from nas.training.network import job_graph
from nas.training.norms import recalibrate
from nas.training.recipe import epoch_batches, learning_rate, make_optimizer, steps_per_epoch
from nas.training.train import binomial, load_trained, train_to_rung
from search_spaces import get_space
from search_spaces.errors import CorruptFile
from search_spaces.torch_network import TorchNetwork

SPACE = get_space("mobilenet_v2_small")
SMALLEST = SPACE.to_string(SPACE.smallest())
RECIPE = Training(batch_size=359, learning_rate=0.01)  # 1,078 = 3 · 359 + 1: a last batch of one is left out


def job(folder: Path, epochs: int = 1, rung: int = 1, *, total: int = 3, **changes: object) -> TrainJob:
    base = TrainJob(7, rung, SPACE.name, SMALLEST, "digits", epochs, total, RECIPE, 0, folder)
    return replace(base, **changes)  # type: ignore[arg-type]


def never() -> bool:
    return False


def stop_after(batches: int) -> Callable[[], bool]:
    """Turns true at the question that follows so many batches."""
    asked = iter(range(batches))
    return lambda: next(asked, None) is None


def run(given: TrainJob, should_stop: Callable[[], bool] = never) -> RungResult:
    result = train_to_rung(given, should_stop)
    assert result is not None
    return result


def weights(given: TrainJob) -> dict[str, np.ndarray]:
    return load_trained(given)


def assert_equal_weights(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert a.keys() == b.keys()
    for key in a:
        np.testing.assert_array_equal(a[key], b[key], err_msg=key)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> tuple[RungResult, dict[str, np.ndarray]]:
    """Three epochs in one go."""
    given = job(tmp_path_factory.mktemp("straight"), 3)
    return run(given), weights(given)


@pytest.fixture
def every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rolling checkpoint after every epoch, however short."""
    monkeypatch.setattr(train, "CHECKPOINT_SECONDS", 0.0)


Straight = tuple[RungResult, dict[str, np.ndarray]]


@pytest.mark.usefixtures("every_epoch")
def test_interrupted_and_continued_equals_uninterrupted(tmp_path: Path, straight: Straight) -> None:
    given = job(tmp_path, 3)
    assert train_to_rung(given, stop_after(4)) is None  # in the second epoch
    assert checkpoint.load(checkpoint.rolling_file(tmp_path), given).epoch == 1
    assert train_to_rung(given, stop_after(4)) is None
    result = run(given)
    assert result.accuracy == straight[0].accuracy
    assert_equal_weights(weights(given), straight[1])
    assert not checkpoint.rolling_file(tmp_path).exists()


def test_rungs_continue_each_other_exactly(tmp_path: Path, straight: Straight) -> None:
    run(job(tmp_path, 1, rung=1))
    result = run(job(tmp_path, 3, rung=2))
    assert result.epochs == 3
    assert_equal_weights(weights(job(tmp_path, 3, rung=2)), straight[1])
    # the first rung's weights are kept
    assert not np.array_equal(weights(job(tmp_path))["classifier.fc.weight"], straight[1]["classifier.fc.weight"])


def test_a_completed_rung_is_not_trained_again(tmp_path: Path) -> None:
    first = run(job(tmp_path))
    assert run(job(tmp_path), should_stop=lambda: True) == first
    assert first.error is None
    assert 0 < first.accuracy < 1
    assert first.seconds > 0


def test_a_stop_is_heeded_before_the_first_batch_and_leaves_nothing(tmp_path: Path) -> None:
    assert train_to_rung(job(tmp_path), lambda: True) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("every_epoch")
@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: data[:900] + b"?" + data[901:]])
def test_a_damaged_rolling_checkpoint_falls_back_to_the_last_rung(
    tmp_path: Path, straight: Straight, damage: Callable[[bytes], bytes]
) -> None:
    run(job(tmp_path, 1))
    assert train_to_rung(job(tmp_path, 3, rung=2), stop_after(4)) is None
    rolling = checkpoint.rolling_file(tmp_path)
    rolling.write_bytes(damage(rolling.read_bytes()))
    batches = []
    run(job(tmp_path, 3, rung=2), should_stop=lambda: bool(batches.append(1)))
    assert len(batches) == 2 * 3  # epochs 2 and 3, not the first
    assert_equal_weights(weights(job(tmp_path, 3, rung=2)), straight[1])


def test_without_any_sound_checkpoint_training_starts_afresh(tmp_path: Path, straight: Straight) -> None:
    run(job(tmp_path, 1))
    checkpoint.rung_file(tmp_path, 1).write_bytes(b"short")
    run(job(tmp_path, 3, rung=2))
    assert_equal_weights(weights(job(tmp_path, 3, rung=2)), straight[1])


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"training": RECIPE.model_copy(update={"learning_rate": 0.5})},
        {"total_epochs": 9},
        {"architecture": SPACE.to_string(SPACE.cover()[1])},
    ],
)
def test_a_checkpoint_of_another_job_is_refused_and_kept(tmp_path: Path, change: dict[str, object]) -> None:
    run(job(tmp_path))
    before = checkpoint.rung_file(tmp_path, 1).read_bytes()
    result = run(job(tmp_path, **change))
    assert result.error is not None
    assert "belongs to another" in result.error
    assert checkpoint.rung_file(tmp_path, 1).read_bytes() == before
    with pytest.raises(CorruptFile, match="belongs to another"):
        load_trained(job(tmp_path, **change))


def test_weights_of_a_missing_or_damaged_rung_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CorruptFile, match="missing"):
        load_trained(job(tmp_path))
    checkpoint.rung_file(tmp_path, 1).write_bytes(b"\0" * 100)
    with pytest.raises(CorruptFile, match="truncated or damaged"):
        train.test_accuracy(job(tmp_path))


def test_seed_and_architecture_decide_everything(tmp_path: Path, straight: Straight) -> None:
    torch.manual_seed(99)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    run(job(tmp_path / "again", 3))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert_equal_weights(weights(job(tmp_path / "again", 3)), straight[1])
    other = job(tmp_path / "other", 1, seed=1)
    run(other)
    assert not np.array_equal(weights(other)["stem.conv.weight"], straight[1]["stem.conv.weight"])


def test_a_diverging_run_is_a_result_with_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "learning_rate", lambda *_: float("nan"))
    result = run(job(tmp_path))
    assert result.accuracy == 0
    assert result.error is not None
    assert "loss became nan" in result.error
    assert "learning rate" in result.error


def test_no_memory_is_a_result_and_a_bug_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(message: str) -> Callable[..., object]:
        def forward(*_: object) -> object:
            raise RuntimeError(message)

        return forward

    monkeypatch.setattr(TorchNetwork, "forward", fail("DefaultCPUAllocator: can't allocate memory: 8 bytes"))
    assert "allocate memory" in (run(job(tmp_path)).error or "")
    monkeypatch.setattr(TorchNetwork, "forward", fail("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        train_to_rung(job(tmp_path), never)


def test_loaded_weights_give_the_recorded_accuracy(tmp_path: Path) -> None:
    given = job(tmp_path, 2, total=2)
    result = run(given)
    assert result.accuracy > 0.3  # it learns: chance is .1
    _, graph = job_graph(given.space, given.architecture, given.dataset)
    network = TorchNetwork(graph)
    state = {key: torch.tensor(value) for key, value in load_trained(given).items()}
    missing = network.load_state_dict(state, strict=False).missing_keys
    assert all(key.endswith("num_batches_tracked") for key in missing)
    part = load_dataset("digits").validation
    correct = train.count_correct(network, to_size(part.images, graph.inputs[0][1:]), torch.tensor(part.labels))
    assert (result.accuracy, result.accuracy_error) == binomial(correct, len(part))
    accuracy, error = train.test_accuracy(given)
    assert 0.2 < accuracy < 1
    assert 0 < error < 0.1


def test_binomial_is_the_wilson_half_width() -> None:
    assert binomial(360, 360)[0] == 1
    assert binomial(360, 360)[1] == pytest.approx(1.6449**2 / 360 / (1 + 1.6449**2 / 360) / 2)
    assert binomial(50, 100) == pytest.approx((0.5, 0.08112), abs=1e-4)


def test_the_learning_rate_warms_up_and_falls() -> None:
    rates = [learning_rate(step, 100, 0.01) for step in range(100)]
    assert rates[0] == pytest.approx(0.001)
    assert max(rates) == pytest.approx(0.01)
    assert rates.index(max(rates)) in (9, 10)
    assert all(a > b for a, b in pairwise(rates[10:]))
    assert rates[-1] < 0.0002


def test_batches_cover_the_epoch_and_leave_out_a_single_sample() -> None:
    assert [steps_per_epoch(n, 4) for n in (4, 5, 6, 8, 9)] == [1, 1, 2, 2, 2]
    batches = list(epoch_batches(10, 4, seed=0, epoch=3))
    assert sorted(torch.cat([index for index, _ in batches]).tolist()) == list(range(10))
    assert [len(index) for index, _ in epoch_batches(9, 4, seed=0, epoch=3)] == [4, 4]
    again, later = (list(epoch_batches(10, 4, seed=0, epoch=epoch)) for epoch in (3, 4))
    assert all(torch.equal(a, b) and torch.equal(c, d) for (a, c), (b, d) in zip(batches, again, strict=True))
    assert not torch.equal(batches[0][0], later[0][0])


def test_norms_and_biases_do_not_decay() -> None:
    _, graph = job_graph(SPACE.name, SMALLEST, "digits")
    optimizer = make_optimizer(TorchNetwork(graph), Training(weight_decay=0.3))
    decaying, others = optimizer.param_groups
    assert decaying["weight_decay"] == 0.3
    assert others["weight_decay"] == 0
    assert {p.ndim for p in decaying["params"]} == {2, 4}
    assert {p.ndim for p in others["params"]} == {1}


def test_augmentation_without_draws_is_the_identity_and_a_shift_shifts() -> None:
    images = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(augment(images, torch.zeros(2, 4)), images)
    from nas.training.images import MAX_SHIFT

    pixels = MAX_SHIFT * 8
    shifted = augment(images, torch.tensor([[0.0, 0.0, 1 / pixels, 0.0]] * 2))  # one pixel: the image moves left
    torch.testing.assert_close(shifted[..., :-1], images[..., 1:])


def test_recalibration_averages_the_batches_and_changes_no_weight() -> None:
    network = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.BatchNorm2d(2, momentum=0.3))
    images = torch.randn(9, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    recalibrate(network, images, 4)  # the ninth image stays out
    norm, batches = network[1], images[:8].split(4)
    torch.testing.assert_close(norm.running_mean, torch.stack([b.mean((0, 2, 3)) for b in batches]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([b.var((0, 2, 3)) for b in batches]).mean(0))
    assert norm.momentum == 0.3
    assert not network.training
    assert not norm.training
    assert torch.equal(norm.weight, torch.ones(2))


def test_resizing_keeps_a_constant_and_the_stored_size() -> None:
    images = np.full((3, 1, 8, 8), 0.25, dtype=np.float32)
    for size in ((8, 8), (16, 16), (5, 5)):
        resized = to_size(images, size)
        assert resized.shape == (3, 1, *size)
        assert torch.allclose(resized, torch.tensor(0.25))
