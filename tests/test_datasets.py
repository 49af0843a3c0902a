"""Data sets: stratified parts, normalisation from the training part alone, sharing."""

import subprocess
import sys

import numpy as np
import pytest

from nas.datasets import DATASETS, get_dataset_facts, load_dataset, split_60_20_20
from search_spaces.errors import UnknownName


@pytest.mark.parametrize("name", list(DATASETS))
def test_parts_fit_the_facts(name: str) -> None:
    facts, dataset = get_dataset_facts(name), load_dataset(name)
    for part in (dataset.train, dataset.validation, dataset.test):
        assert part.images.dtype == np.float32
        assert part.labels.dtype == np.int64
        assert part.images.shape == (len(part), *facts.input_shape)
        assert set(part.labels.tolist()) == set(range(facts.classes))
    assert facts.task.input_shape == facts.input_shape
    assert load_dataset(name) is dataset


def test_digits_are_split_60_20_20_and_stratified() -> None:
    digits = load_dataset("digits")
    sizes = [len(digits.train), len(digits.validation), len(digits.test)]
    assert sizes == [1078, 359, 360]
    shares = [np.bincount(p.labels) / len(p) for p in (digits.train, digits.validation, digits.test)]
    assert np.abs(np.array(shares) - shares[0]).max() < 0.005


def test_parts_are_disjoint_and_complete() -> None:
    images = np.arange(100, dtype=np.float32).reshape(100, 1, 1, 1) / 100
    dataset = split_60_20_20(images, np.repeat(np.arange(10), 10))
    raw = [p.images.ravel() * dataset.std + dataset.mean for p in (dataset.train, dataset.validation, dataset.test)]
    seen = np.rint(np.concatenate(raw) * 100).astype(int)
    assert sorted(seen.tolist()) == list(range(100))


def test_mean_and_std_come_from_the_training_part_alone() -> None:
    digits = load_dataset("digits")
    assert digits.train.images.mean(dtype=np.float64) == pytest.approx(0, abs=1e-5)
    assert digits.train.images.std(dtype=np.float64) == pytest.approx(1, abs=1e-5)
    assert abs(digits.validation.images.mean(dtype=np.float64)) > 1e-4
    stored = digits.test.images * digits.std + digits.mean
    np.testing.assert_allclose(np.rint(stored * 16), stored * 16, atol=1e-4)
    assert stored.min() >= -1e-6
    assert stored.max() <= 1 + 1e-6


def test_shared_arrays_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="read-only"):
        load_dataset("digits").train.images[0] = 0


def test_unknown_name_hints_at_the_nearest() -> None:
    with pytest.raises(UnknownName) as raised:
        get_dataset_facts("digit")
    assert "digits" in raised.value.hint
    assert raised.value.field == "dataset"


def test_facts_load_neither_torch_nor_sklearn() -> None:
    code = (
        "import sys, nas.datasets, nas.proxies, nas.scores;print([m for m in ('torch', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
