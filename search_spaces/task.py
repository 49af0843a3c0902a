"""What a network is for: the input it gets and the head it ends in."""

from collections.abc import Callable
from dataclasses import dataclass

from search_spaces.builder import Builder, Value
from search_spaces.errors import InvalidSpec
from search_spaces.graph import Shape

Classifier = Callable[[Builder, Value, int], Value]
"""The block from features to one output a class. A space has its own where its networks end differently."""


@dataclass(frozen=True, slots=True)
class Classification:
    """One label an input: pooling and a last layer of ``classes`` outputs, as the space's networks have it."""

    classes: int

    def __post_init__(self) -> None:
        if not isinstance(self.classes, int) or isinstance(self.classes, bool) or self.classes < 2:
            raise InvalidSpec(f"{self.classes!r} classes", hint="a whole number of at least 2", field="classes")

    def attach(self, b: Builder, x: Value, classifier: Classifier) -> Value:
        """Appends the head to the features ``x``."""
        value: Value = b.block("classifier", classifier, x, self.classes)
        return value


@dataclass(frozen=True, slots=True)
class Task:
    """``input_shape`` is (channels, height, width). A resolution choice overrides the spatial size."""

    input_shape: Shape
    head: Classification

    def __post_init__(self) -> None:
        shape = self.input_shape
        if len(shape) != 3 or any(not isinstance(n, int) or isinstance(n, bool) or n < 1 for n in shape):
            raise InvalidSpec(f"input shape {shape!r}", hint="(channels, height, width)", field="input_shape")


def classifier(b: Builder, x: Value, classes: int) -> Value:
    """Global average pooling where it is not done yet, flattening, and a linear layer."""
    return b.linear("fc", pooled(b, x), classes)


def pooled(b: Builder, x: Value) -> Value:
    """The features of ``x`` as a vector: the mean over all positions."""
    if any(size > 1 for size in x.shape[1:]):
        x = b.op("pool", "global_avg_pool", x)
    return b.op("flat", "flatten", x) if len(x.shape) > 1 else x
