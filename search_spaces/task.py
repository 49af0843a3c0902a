"""What a network is for: the input it gets and the head it ends in."""

from dataclasses import dataclass

from search_spaces.builder import Builder, Value
from search_spaces.errors import InvalidSpec
from search_spaces.graph import Shape


@dataclass(frozen=True, slots=True)
class Classification:
    """One label an input: global pooling and a linear layer of ``classes`` outputs."""

    classes: int

    def __post_init__(self) -> None:
        if not isinstance(self.classes, int) or isinstance(self.classes, bool) or self.classes < 2:
            raise InvalidSpec(f"{self.classes!r} classes", hint="a whole number of at least 2", field="classes")

    def attach(self, b: Builder, x: Value) -> Value:
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
    """Global average pooling, flattening, and a linear layer."""
    x = b.op("pool", "global_avg_pool", x)
    x = b.op("flat", "flatten", x)
    return b.linear("fc", x, classes)
