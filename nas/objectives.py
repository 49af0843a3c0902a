"""The figures that a search can optimise or bound."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

Goal = Literal["maximize", "minimize"]


class Metric(NamedTuple):
    """Facts of a metric. ``kind`` says what it takes to know it.

    arithmetic: exact, from the graph alone; device: measured, predicted or worked out for a named device;
    trained: known only after training.
    """

    description: str
    unit: str
    kind: Literal["arithmetic", "device", "trained"]
    goal: Goal


METRICS: Mapping[str, Metric] = {
    "accuracy": Metric("top-1 accuracy on the validation part", "fraction", "trained", "maximize"),
    "params": Metric("trainable parameters of the training graph", "count", "arithmetic", "minimize"),
    "macs": Metric("multiply-accumulates of convolution and linear layers, batch 1", "count", "arithmetic", "minimize"),
    "peak_memory_bytes": Metric("peak activation memory, float32, batch 1", "bytes", "arithmetic", "minimize"),
    "weight_bytes": Metric("size of the deployed weights, float32", "bytes", "arithmetic", "minimize"),
    "latency_ms": Metric("one call of the device's batch", "ms", "device", "minimize"),
    "energy_mj": Metric("energy of one call of the device's batch", "mJ", "device", "minimize"),
    "flash_bytes": Metric("the deployed weights in the device's precision", "bytes", "device", "minimize"),
    "ram_bytes": Metric("peak memory in the device's precision, for its batch", "bytes", "device", "minimize"),
}
"""Metrics by the name that a spec uses."""


def metric_key(metric: str, device: str | None, devices_in_use: int = 1) -> str:
    """The JSON key of a metric: plain for one device, ``latency_ms@DEVICE`` where several are in use."""
    return f"{metric}@{device}" if device and devices_in_use > 1 else metric
