"""The data sets that a search can train on. Facts here; pixels only when loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module

import numpy as np
from numpy.typing import NDArray

from search_spaces.errors import UnknownName, nearest
from search_spaces.task import Classification, Task

SPLIT_SEED = 0


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """``input_shape`` is (channels, height, width) as stored; ``loader`` the dotted path of what loads it."""

    description: str
    input_shape: tuple[int, int, int]
    classes: int
    loader: str

    @property
    def task(self) -> Task:
        """The task that the data set poses: classification at the stored size."""
        return Task(self.input_shape, Classification(self.classes))


DATASETS: Mapping[str, DatasetFacts] = {
    "digits": DatasetFacts(
        "handwritten digits of scikit-learn: 1,797 grey images of 8 x 8 pixels, stratified 60/20/20",
        (1, 8, 8),
        10,
        "nas.datasets:load_digits",
    ),
}
"""Every data set by name."""


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """``images`` float32 (n, channels, height, width), normalised; ``labels`` int64 (n,). Both read-only."""

    images: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """The three parts: ``train`` for weights, ``validation`` for decisions, ``test`` read once at the end.

    An image in 0..1 was normalised as ``(image - mean) / std``, both (channels,), taken from ``train``.
    """

    train: Split
    validation: Split
    test: Split
    mean: NDArray[np.float32]
    std: NDArray[np.float32]


def get_dataset_facts(name: str) -> DatasetFacts:
    """The facts of a data set. Raises: UnknownName with the nearest known name."""
    if name not in DATASETS:
        raise UnknownName(f"unknown data set {name!r}", hint=nearest(name, list(DATASETS)), field="dataset")
    return DATASETS[name]


@lru_cache(maxsize=4)
def load_dataset(name: str) -> Dataset:
    """The data set of that name, loaded once per process. Raises: UnknownName."""
    module, _, attribute = get_dataset_facts(name).loader.partition(":")
    dataset: Dataset = getattr(import_module(module), attribute)()
    return dataset


def load_digits() -> Dataset:
    """Alpaydin and Kaynak 1998, as shipped with scikit-learn (no download)."""
    from sklearn.datasets import load_digits as load

    bunch = load()
    images = (bunch.images[:, None] / 16).astype(np.float32)
    return split_60_20_20(images, bunch.target.astype(np.int64))


def split_60_20_20(images: NDArray[np.float32], labels: NDArray[np.int64]) -> Dataset:
    """Stratified parts of 60, 20 and 20 %, the same on every machine. ``images`` (n, c, h, w) in 0..1."""
    from sklearn.model_selection import train_test_split

    train, rest = train_test_split(np.arange(len(labels)), test_size=0.4, stratify=labels, random_state=SPLIT_SEED)
    validation, test = train_test_split(rest, test_size=0.5, stratify=labels[rest], random_state=SPLIT_SEED)
    mean = images[train].mean(axis=(0, 2, 3), dtype=np.float64).astype(np.float32)
    std = images[train].std(axis=(0, 2, 3), dtype=np.float64).astype(np.float32)
    normalised = (images - mean[:, None, None]) / std[:, None, None]

    def part(index: NDArray[np.int64]) -> Split:
        index = np.sort(index)
        split = Split(np.ascontiguousarray(normalised[index]), np.ascontiguousarray(labels[index]))
        split.images.flags.writeable = False
        split.labels.flags.writeable = False
        return split

    return Dataset(part(train), part(validation), part(test), mean, std)
