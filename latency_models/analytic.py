"""Latency by arithmetic for a device that nobody can attach: a roofline over its stated facts, and an overhead.

Williams, Waterman and Patterson 2009, "Roofline: an insightful visual performance model for multicore architectures",
with a ceiling for each memory beside the one of the arithmetic, and the kernels that ``latency_models.kernels`` takes
for fused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path
from typing import NamedTuple

from latency_models.catalogue import DEVICE_NAME, ELEMENT_BYTES, AnalyticDevice, Catalogue, built_in, load_catalogue
from latency_models.device import MAX_BATCH_SIZE, Device, local_devices
from latency_models.energy import kernel_energy_pj, network_energy_mj
from latency_models.estimate import Estimate, Source
from latency_models.kernels import BYTES, Unit, blocks_of_chain, families, is_constant, named_units, units
from latency_models.predictors import LayerEstimate
from latency_models.roofline import Roof
from search_spaces.cost import peak_memory_bytes, weight_bytes
from search_spaces.deploy import deploy
from search_spaces.errors import DeviceUnavailable, nearest
from search_spaces.graph import Graph

RUNTIME = "analytic"
"""What a device of the catalogue has in place of a runtime."""
NOTE = "by arithmetic from the facts of the device, not measured"
_NAME = re.compile(rf"(?P<name>{DEVICE_NAME})(?:-(?P<precision>fp32|fp16|bf16|int8))?(?:-b(?P<batch>[1-9]\d{{0,3}}))?")
_MULTIPLY = ("conv", "depthwise", "grouped", "linear", "matmul")
_VIEWS = frozenset({"reshape", "flatten"})
_MEMO_LIMIT = 20_000


class _Kernel(NamedTuple):
    """A kernel for one input: work of its family, elements of activations moved and of weights read."""

    family: str
    macs: int
    elements: int
    moved: int
    weights: int


class _Cost(NamedTuple):
    seconds: float
    picojoules: float


class _Part(NamedTuple):
    """A block on the device: its kernels, and their sums with all weights on the chip and with all streamed."""

    kernels: tuple[_Kernel, ...]
    weight_bytes: int
    held_bytes: int
    """The most activations that one of its kernels holds on the chip."""
    kept: _Cost
    streamed: _Cost


class AnalyticPredictor:
    """A ``LatencyPredictor`` from stated facts; every estimate has the source analytic."""

    def __init__(self, device: Device, facts: AnalyticDevice) -> None:
        self.device = device
        self.facts = facts
        self._element_bytes = ELEMENT_BYTES[device.precision]  # type: ignore[index]
        self._rates = facts.macs_per_s[device.precision]  # type: ignore[index]
        self._elements_per_s = facts.elements_per_s[device.precision]  # type: ignore[index]
        self._parts: dict[Graph | str, _Part] = {}

    @property
    def roof(self) -> Roof:
        """The highest ceilings of the device."""
        rates = self._rates
        peak = max(rates.conv, rates.depthwise, rates.linear, rates.matmul, rates.of("grouped"))
        return Roof(peak, max(self.facts.on_chip.bytes_per_s, self.facts.off_chip_bytes_per_s), Source.ANALYTIC)

    def predict(self, graph: Graph) -> Estimate:
        """See ``LatencyPredictor``. No kernel is unknown: what does not multiply costs its elements and its bytes."""
        return self._estimate(1e3 * self._cost(graph).seconds)

    def layers(self, graph: Graph) -> tuple[LayerEstimate, ...]:
        """See ``LatencyPredictor``. With the overhead of the call they add up to ``predict``."""
        share = self._streamed_share(self._parts_of(graph))
        found = []
        for nodes, kernel in _named_kernels(graph, ""):
            estimate = self._estimate(1e3 * self._kernel_cost(kernel, share).seconds)
            moved, weights = BYTES * kernel.moved, BYTES * kernel.weights
            found.append(LayerEstimate(nodes, kernel.family, estimate, kernel.macs, moved, weights))
        return tuple(found)

    def energy_mj(self, graph: Graph) -> Estimate | None:
        """Millijoules of one call with the device's batch; None where the device states neither power nor energy.

        The error is unknown: that of a stated power is nowhere stated.
        """
        if not self.facts.states_energy:
            return None
        seconds, picojoules = self._cost(graph)
        return Estimate(network_energy_mj(self.facts, seconds, picojoules), None, Source.ANALYTIC, NOTE)

    def flash_bytes(self, graph: Graph) -> Estimate:
        """The deployed weights in the device's precision."""
        return Estimate(weight_bytes(deploy(graph)[0], self._element_bytes), 0.0, Source.ANALYTIC)

    def ram_bytes(self, graph: Graph) -> Estimate:
        """The peak activations of a batch in the device's precision, and the weights where they lie there too."""
        deployed = deploy(graph)[0]
        peak = self.device.batch_size * peak_memory_bytes(deployed, self._element_bytes)
        held = weight_bytes(deployed, self._element_bytes) if self.facts.weights_in == "ram" else 0
        return Estimate(peak + held, 0.0, Source.ANALYTIC)

    def _estimate(self, ms: float) -> Estimate:
        relative = self.facts.relative_error
        return Estimate(ms, None if relative is None else relative * ms, Source.ANALYTIC, NOTE)

    def _cost(self, graph: Graph) -> _Cost:
        parts = self._parts_of(graph)
        share = self._streamed_share(parts)
        if share == 1.0:
            costs: Sequence[_Cost] = [part.streamed for part in parts]
        elif share == 0.0:
            costs = [part.kept for part in parts]
        else:
            costs = [self._kernel_cost(kernel, share) for part in parts for kernel in part.kernels]
        call_s = 1e-6 * self.facts.overhead_per_call_us
        return _Cost(call_s + sum([cost.seconds for cost in costs]), sum([cost.picojoules for cost in costs]))

    def _streamed_share(self, parts: Sequence[_Part]) -> float:
        """The share of the weights that comes from off the chip in every call."""
        if self.facts.weights == "streamed":
            return 1.0
        total = sum([part.weight_bytes for part in parts])
        room = self.facts.on_chip.capacity_bytes - max([part.held_bytes for part in parts], default=0)
        return 0.0 if total <= room else 1.0 - max(room, 0) / total

    def _parts_of(self, graph: Graph) -> list[_Part]:
        """What a network is made of; looking up known blocks is all that a warm prediction costs."""
        if len(self._parts) >= _MEMO_LIMIT:
            self._parts.clear()
        blocks = _blocks(graph)
        if blocks == [graph]:
            return self._parts_of_units(graph)
        known = self._parts
        found = []
        for block in blocks:
            part = known.get(block)
            if part is None:
                part = known[block] = self._make_part([kernel for _, kernel in _named_kernels(block, "")])
            found.append(part)
        return found

    def _parts_of_units(self, graph: Graph) -> list[_Part]:
        """The same where a network is no chain of blocks: by units, which other networks share."""
        keys, known = [unit.key for unit in units(graph)], self._parts
        if not all(key in known for key in keys):
            for unit, kernels in named_units(graph):
                if unit.key not in known:
                    known[unit.key] = self._make_part([_read(kernel.unit) for kernel in kernels])
        return [known[key] for key in keys]

    def _make_part(self, kernels: Sequence[_Kernel]) -> _Part:
        held = [self._moved_bytes(kernel) for kernel in kernels]
        capacity = self.facts.on_chip.capacity_bytes
        return _Part(
            tuple(kernels),
            self._element_bytes * sum([kernel.weights for kernel in kernels]),
            max([size for size in held if size <= capacity], default=0),
            self._sum(kernels, 0.0),
            self._sum(kernels, 1.0),
        )

    def _sum(self, kernels: Sequence[_Kernel], streamed_share: float) -> _Cost:
        costs = [self._kernel_cost(kernel, streamed_share) for kernel in kernels]
        return _Cost(sum([c.seconds for c in costs]), sum([c.picojoules for c in costs]))

    def _moved_bytes(self, kernel: _Kernel) -> int:
        return self.device.batch_size * kernel.moved * self._element_bytes

    def _kernel_cost(self, kernel: _Kernel, streamed_share: float) -> _Cost:
        """The slowest of arithmetic and memories, which work at the same time, and the overhead of a kernel."""
        if kernel.family in _VIEWS:
            return _Cost(0.0, 0.0)
        facts, batch = self.facts, self.device.batch_size
        moved = self._moved_bytes(kernel)
        weights = kernel.weights * self._element_bytes
        on_chip, off_chip = (1 - streamed_share) * weights, streamed_share * weights
        if moved <= facts.on_chip.capacity_bytes:
            on_chip += moved
        else:
            off_chip += moved
        macs = batch * kernel.macs
        busy = batch * kernel.elements / self._elements_per_s
        if macs:
            busy = macs / self._rates.of(kernel.family if kernel.family in _MULTIPLY else "depthwise")
        seconds = max(busy, on_chip / facts.on_chip.bytes_per_s, off_chip / facts.off_chip_bytes_per_s)
        picojoules = kernel_energy_pj(facts.energy, self.device.precision, macs, on_chip, off_chip)
        return _Cost(seconds + 1e-6 * facts.overhead_per_kernel_us, picojoules)


def _blocks(graph: Graph) -> list[Graph]:
    """The blocks of a plain chain of blocks, each of which deploys by itself; any other network is one block.

    None of them where nothing depends on the input.
    """
    if is_constant(graph):
        return []
    blocks = blocks_of_chain(graph)
    return [graph] if blocks is None else list(blocks)


def _named_kernels(graph: Graph, prefix: str) -> Iterator[tuple[tuple[str, ...], _Kernel]]:
    """The kernels of a network in order of execution, with the names of their nodes."""
    blocks = _blocks(graph)
    if not blocks:
        return
    if blocks != [graph]:
        for item, block in zip(graph.items, blocks, strict=True):
            yield from _named_kernels(block, f"{prefix}{item.name}.")
        return
    for named in named_units(graph):
        for kernel in named.kernels:
            yield tuple([prefix + name for name in kernel.nodes]), _read(kernel.unit)


def _read(unit: Unit) -> _Kernel:
    graph, kinds = unit.graph, families(unit)
    first = graph.nodes[0]
    family = next((name for name in _MULTIPLY if name in kinds), first.op)
    read, written = sum(map(prod, graph.inputs)), sum(map(prod, graph.output_shapes))
    taps = prod(first.attrs["kernel"]) if "kernel" in first.attrs else 1
    weights = sum([prod(weight.shape) for entry in graph.entries().values() for weight in entry.values()])
    return _Kernel(family, graph.macs + graph.matmul_macs, max(read, taps * written), read + written, weights)


def analytic_predictor(name: str, own: Path | None = None) -> AnalyticPredictor | None:
    """The predictor of an analytic device, ``NAME[-PRECISION][-bN]``; None for the name of a device to be measured.

    ``own`` is the user's file of devices, which is only read for a name that the project does not know.
    Raises: DeviceUnavailable (unknown, with the nearest name; or not in that precision), CorruptFile (``own``).
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    catalogue = built_in() if match["name"] in built_in() else load_catalogue(own)
    facts = catalogue.get(match["name"])
    if facts is None:
        known = [*catalogue, *(status.device.name for status in local_devices())]
        hint = f"{nearest(name, known)}; one that you have needs: hwnas profile --device HOST-RUNTIME"
        raise DeviceUnavailable(f"unknown device {name!r}", hint=hint, field="device")
    return AnalyticPredictor(_device(match, facts), facts)


def _device(match: re.Match[str], facts: AnalyticDevice) -> Device:
    name, precision, batch = match[0], match["precision"], int(match["batch"] or 1)
    if precision == facts.precision or match["batch"] == "1":
        plain = match["name"] + (f"-{precision}" if precision not in (None, facts.precision) else "")
        plain += f"-b{batch}" if batch > 1 else ""
        raise DeviceUnavailable(f"{name}: the default needs no suffix", hint=f"write {plain}", field="device")
    if precision is not None and precision not in facts.macs_per_s:
        raise DeviceUnavailable(
            f"{name}: the catalogue has no {precision} for {match['name']}",
            hint=f"known: {', '.join(facts.macs_per_s)}",
            field="device",
        )
    if batch > MAX_BATCH_SIZE:
        raise DeviceUnavailable(f"{name}: batch {batch}", hint=f"at most {MAX_BATCH_SIZE}", field="device")
    return Device(name, RUNTIME, precision or facts.precision, 1, batch, match["name"])


def analytic_devices(catalogue: Catalogue) -> list[tuple[Device, AnalyticDevice]]:
    """Every device of a catalogue in every precision that it has facts for."""
    found = []
    for name, facts in catalogue.items():
        for precision in [facts.precision, *(p for p in facts.macs_per_s if p != facts.precision)]:
            full = name if precision == facts.precision else f"{name}-{precision}"
            found.append((Device(full, RUNTIME, precision, 1, 1, name), facts))
    return found
