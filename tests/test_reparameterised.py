"""Blocks that are trained as one network and run as another: what becomes of them, and the ops that they need."""

from itertools import product

import numpy as np
import onnxruntime
import pytest
import torch
from support_graphs import randomised

from search_spaces import BLOCKS, get_preset
from search_spaces.blocks.large_kernel import DILATED, dilated_parallel
from search_spaces.builder import Builder
from search_spaces.deploy import deploy
from search_spaces.errors import InvalidGraph
from search_spaces.graph import Graph
from search_spaces.onnx_graph import to_onnx
from search_spaces.torch_network import TorchNetwork, load_numpy_weights, numpy_weights


def shaken(graph: Graph, seed: int = 0) -> dict[str, np.ndarray]:
    """Weights of which none is fresh: layer scales, positions and displacements as well as statistics."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    weights = randomised(numpy_weights(TorchNetwork(graph)), seed)
    for node in graph.nodes:
        own = {t: weights[f"{node.weights}.{t}"] for t in graph.entries().get(node.weights, {})}
        if node.op in ("scale", "response_norm"):
            own = {t: rng.uniform(0.5, 1.5, value.shape) for t, value in own.items()}
        elif "position" in own:
            own["position"] = rng.normal(0, 2, own["position"].shape)
        elif "displacement" in own:
            own["displacement"] = rng.uniform(-2.5, 2.5, own["displacement"].shape)
        weights |= {f"{node.weights}.{t}": value.astype(np.float32) for t, value in own.items()}
    return weights


def network(graph: Graph, weights: dict[str, np.ndarray]) -> TorchNetwork:
    made = TorchNetwork(graph).eval()
    load_numpy_weights(made, weights)
    return made


def block(name: str, *arguments: object, shape: tuple[int, ...] = (16, 13, 11)) -> Graph:
    b = Builder([shape])
    return b.build(b.block("block", BLOCKS[name].function, b.inputs[0], *arguments))


def assert_deploys(graph: Graph) -> Graph:
    weights = shaken(graph)
    deployed, deployed_weights = deploy(graph, weights)
    x = torch.randn(2, *graph.inputs[0])
    with torch.no_grad():
        expected, found = network(graph, weights)(x), network(deployed, deployed_weights)(x)
    assert float((expected - found).abs().max()) <= 1e-4 * max(1.0, float(expected.abs().max()))
    return deployed


@pytest.mark.parametrize(
    ("name", "arguments", "before", "after"),
    [
        ("repvgg_block", (16,), 2, 1),
        ("repvgg_block", (16, 5, 1, 4, 3), 4, 1),
        ("repvgg_block", (24, 3, 2), 2, 1),
        ("mobileone_block", (16, 3, 1, 4), 9, 2),
        ("mobileone_block", (24, 5, 2, 1, "se_16"), 7, 6),
        ("repvit_block", (16,), 4, 3),
        ("repvit_block", (16, 7, 2.0, 1, "none", "gelu", False), 4, 3),
        ("repvit_downsample", (24,), 8, 7),
        ("unireplknet_block", (16, 13), 10, 5),
        ("unireplknet_block", (16, 3), 5, 5),
        ("learnable_spacing_block", (16, 9, 6), 3, 3),
        ("shift_bottleneck", (16, 2.0, 1, 2), 2, 3),
        ("lsnet_block", (16, "depthwise"), 6, 5),
        ("lsnet_block", (16, "large_small"), 6, 6),
        ("lsnet_block", (16, "attention"), 5, 5),
    ],
)
def test_layers_before_and_after_deployment(name: str, arguments: tuple[object, ...], before: int, after: int) -> None:
    graph = block(name, *arguments)
    deployed = assert_deploys(graph)
    assert (len(graph.layers()), len(deployed.layers())) == (before, after)
    left = {node.op for node in deployed.nodes} & {"scale", "multiply", "spaced_conv", "sparse_shift", "batch_norm"}
    assert left == ({"batch_norm"} if "large_small" in arguments else set())  # behind weights made from the input


@pytest.mark.parametrize("kernel", DILATED)
def test_dilated_branches_fit_into_their_window(kernel: int) -> None:
    assert all(dilation * (small - 1) + 1 <= kernel for small, dilation in DILATED[kernel])
    b = Builder([(4, 9, 9)])
    deployed = assert_deploys(b.build(b.batch_norm("bn", dilated_parallel(b, "depthwise", b.inputs[0], kernel))))
    assert [(layer.kernel, layer.dilation) for layer in deployed.layers()] == [((kernel, kernel), (1, 1))]


def test_a_kernel_without_branches_is_refused() -> None:
    with pytest.raises(InvalidGraph, match="dilated block of kernel 8"):
        block("unireplknet_block", 16, 8)


@pytest.mark.parametrize(
    ("name", "millions", "convolutions"),
    [
        # as published, for the networks as they run
        ("repvit_m0_9", 5.07, 103),
        ("repvit_m1_0", 6.81, 103),
        ("repvit_m1_1", 8.24, 95),
        ("repvit_m1_5", 14.05, 167),
        ("repvgg_a0", 8.31, 22),
        ("mobileone_s0", 2.08, 43),
        ("unireplknet_a", 4.45, 65),
        ("unireplknet_f", 6.24, 65),
        ("unireplknet_p", 10.75, 65),
        ("unireplknet_n", 18.34, 75),
        ("lsnet_t", 11.37, 114),
        ("lsnet_s", 16.10, 119),
        ("lsnet_b", 23.25, 158),
    ],
)
def test_networks_as_they_run(name: str, millions: float, convolutions: int) -> None:
    graph = get_preset(name).graph()
    deployed, _ = deploy(graph)
    assert round(deployed.params / 1e6, 2) == millions
    assert sum(layer.op == "conv" for layer in deployed.layers()) == convolutions
    assert sum(layer.op == "linear" for layer in deployed.layers()) == 1  # two heads are one
    assert deployed.macs <= graph.macs


def test_repvit_as_it_is_trained() -> None:
    graph = get_preset("repvit_m0_9").graph()
    assert (graph.params, graph.macs) == (5_489_328, 817_280_832)


def test_a_network_deploys_with_its_weights() -> None:
    graph = get_preset("repvit_m0_9").graph((3, 64, 64), classes=10)
    deployed = assert_deploys(graph)
    assert not {"batch_norm", "multiply"} & {node.op for node in deployed.nodes}


def test_learned_positions_spread_their_weights_over_four_neighbours() -> None:
    b = Builder([(2, 8, 9)])
    options = {"out_channels": 4, "kernel": (5, 7), "taps": 3, "stride": (2, 1), "padding": (2, 3), "groups": 2}
    graph = b.build(b.op("conv", "spaced_conv", b.inputs[0], bias=True, **options))
    weights = shaken(graph)
    weights["conv.position"][:, 0] = [[[0.0, 1.0, -9.0]], [[2.0, -2.5, 9.0]]]  # on the grid, between, beyond it
    kernel = np.zeros((4, 1, 5, 7))
    for channel, tap in product(range(4), range(3)):
        row, column = (
            float(np.clip(p, -r, r)) + r
            for p, r in zip(weights["conv.position"][:, channel, 0, tap], (2, 3), strict=True)
        )
        for i, j in product(range(5), range(7)):
            share = max(0.0, 1 - abs(row - i)) * max(0.0, 1 - abs(column - j))
            kernel[channel, 0, i, j] += share * weights["conv.weight"][channel, 0, tap]
    _, deployed_weights = deploy(graph, weights)
    np.testing.assert_allclose(deployed_weights["conv.weight"], kernel, atol=1e-6)
    assert_deploys(graph)


def test_a_position_beyond_the_window_still_learns() -> None:
    b = Builder([(1, 6, 6)])
    options = {"out_channels": 1, "kernel": (3, 3), "taps": 1, "stride": (1, 1), "padding": (1, 1), "groups": 1}
    trained = TorchNetwork(b.build(b.op("conv", "spaced_conv", b.inputs[0], bias=False, **options)))
    with torch.no_grad():
        trained.get_parameter("conv.position").copy_(torch.tensor([5.0, 0.3]).reshape(2, 1, 1, 1))
    trained(torch.randn(1, 1, 6, 6)).square().sum().backward()
    gradient = trained.get_parameter("conv.position").grad
    assert gradient is not None
    assert gradient.abs().min() > 0


def shifted(x: np.ndarray, displacement: np.ndarray) -> np.ndarray:
    """Each channel of x (channels, height, width) moved by bilinear interpolation, zeros beyond its edges."""
    made = np.zeros_like(x)
    _, height, width = x.shape
    for c, i, j in product(*map(range, x.shape)):
        row, column = i + displacement[0, c], j + displacement[1, c]
        for r, s in product(range(height), range(width)):
            made[c, i, j] += x[c, r, s] * max(0, 1 - abs(row - r)) * max(0, 1 - abs(column - s))
    return made


def test_a_shift_moves_by_whole_pixels_and_learns_by_bilinear_interpolation() -> None:
    b = Builder([(5, 6, 7)])
    graph = b.build(b.op("shift", "sparse_shift", b.inputs[0], reach=2))
    weights = shaken(graph)
    displacement = np.clip(weights["shift.displacement"], -1.9, 1.9).astype(np.float64)
    weights["shift.displacement"] = displacement.astype(np.float32)
    trained = network(graph, weights)
    x, factors = torch.randn(1, 5, 6, 7), torch.randn(5, 6, 7)
    made = trained(x)
    np.testing.assert_allclose(made[0].detach(), shifted(x[0].numpy(), np.rint(displacement)), atol=1e-6)
    (made[0] * factors).sum().backward()
    gradient = trained.get_parameter("shift.displacement").grad
    for axis, channel in product(range(2), range(5)):
        step = np.zeros_like(displacement)
        step[axis, channel] = 1e-4
        there, back = (shifted(x[0].double().numpy(), displacement + sign * step) for sign in (1, -1))
        expected = ((there - back) * factors.numpy()).sum() / 2e-4
        assert gradient is not None
        assert float(gradient[axis, channel]) == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_a_shift_costs_nothing_in_training_and_has_one_tap_when_deployed() -> None:
    b = Builder([(5, 6, 7)])
    graph = b.build(b.op("shift", "sparse_shift", b.inputs[0], reach=2))
    assert (graph.params, graph.macs) == (10, 0)
    _, weights = deploy(graph, shaken(graph))
    assert set(np.unique(weights["shift.weight"])) == {0.0, 1.0}
    assert (weights["shift.weight"].sum(axis=(1, 2, 3)) == 1).all()
    assert_deploys(graph)


@pytest.mark.parametrize("kernel", [(3, 3), (1, 5)])
def test_dynamic_convolution_weighs_every_position_by_itself(kernel: tuple[int, int]) -> None:
    channels, height, width, groups = 6, 5, 4, 3
    rows, columns = kernel
    b = Builder([(channels, height, width), (groups * rows * columns, height, width)])
    graph = b.build(b.op("mix", "dynamic_conv", *b.inputs, kernel=kernel))
    assert graph.matmul_macs == channels * height * width * rows * columns
    rng = np.random.default_rng(0)
    x, weights = (rng.standard_normal((2, *shape), dtype=np.float32) for shape in graph.inputs)
    expected = np.zeros_like(x)
    padded = np.pad(x, ((0, 0), (0, 0), (rows // 2, rows // 2), (columns // 2, columns // 2)))
    for c, i, j in product(range(channels), range(height), range(width)):
        window = padded[:, c, i : i + rows, j : j + columns].reshape(2, -1)
        first = c % groups * rows * columns
        expected[:, c, i, j] = (window * weights[:, first : first + rows * columns, i, j]).sum(1)
    found = TorchNetwork(graph)(torch.from_numpy(x), torch.from_numpy(weights))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    session = onnxruntime.InferenceSession(to_onnx(graph).SerializeToString(), providers=["CPUExecutionProvider"])
    (exported,) = session.run(None, dict(zip(graph.input_names, (x, weights), strict=True)))
    np.testing.assert_allclose(exported, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("op", "shapes", "attrs"),
    [
        ("dynamic_conv", [(6, 5, 4), (10, 5, 4)], {"kernel": (3, 3)}),
        ("dynamic_conv", [(6, 5, 4), (36, 5, 4)], {"kernel": (3, 3)}),
        ("dynamic_conv", [(6, 5, 4), (18, 5, 5)], {"kernel": (3, 3)}),
        ("dynamic_conv", [(6, 5, 4), (4, 5, 4)], {"kernel": (2, 2)}),
        ("sparse_shift", [(6, 5)], {"reach": 1}),
    ],
)
def test_shapes_that_do_not_fit_are_refused(op: str, shapes: list[tuple[int, ...]], attrs: dict[str, object]) -> None:
    b = Builder(shapes)
    with pytest.raises(InvalidGraph):
        b.op("node", op, *b.inputs, **attrs)


def test_blocks_say_what_they_cannot_be() -> None:
    with pytest.raises(InvalidGraph, match="share weights"):
        block("large_small_conv", shape=(12, 6, 6))
    with pytest.raises(InvalidGraph, match="in 3 heads"):
        block("biased_attention", 3)
    with pytest.raises(InvalidGraph, match="mixer 'none'"):
        block("lsnet_block", 16, "none")
