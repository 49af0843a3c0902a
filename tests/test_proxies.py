"""Proxies: cases worked out by hand or by autograd written out, passes run once, degenerate networks."""

import math
from importlib import import_module

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support_graphs import TASK

from nas.jobs import ScoreJob
from nas.proxies import PROXIES, get_proxy_facts
from nas.proxies.compute import compute, score_architecture
from nas.proxies.passes import GraphOnly, Passes, Perturbed
from nas.proxies.w_pca import components
from nas.scores import SCORES
from search_spaces import SPACES, get_space
from search_spaces.blocks.mlp import mlp
from search_spaces.builder import Builder, Value
from search_spaces.errors import UnknownName
from search_spaces.graph import Graph
from search_spaces.torch_network import TorchNetwork, load_numpy_weights

ALL = tuple(PROXIES)
EVERY_PASS = tuple(dict.fromkeys(p for facts in PROXIES.values() for p in facts.passes))


def linear_chain(activation: str | None = None, norm: bool = False) -> Graph:
    """Pointwise convolution of 2 to 2 channels, the extras, flattening and a linear layer of 2 outputs."""
    b = Builder([(2, 1, 1)])
    x = b.conv("first", b.inputs[0], 2, 1)
    if norm:
        x = b.batch_norm("bn", x)
    if activation:
        x = b.op("act", activation, x)
    x = b.op("flat", "flatten", x)
    return b.build(b.linear("last", x, 2))


def with_weights(graph: Graph, **tensors: list) -> TorchNetwork:
    network = TorchNetwork(graph)
    state = {key: value.numpy() for key, value in network.state_dict().items() if "num_batches" not in key}
    for key, value in tensors.items():
        name = key.replace("_", ".")
        state[name] = np.array(value, dtype=np.float32).reshape(state[name].shape)
    load_numpy_weights(network, state)
    return network


def passes_of(network: TorchNetwork, images: torch.Tensor, labels: list[int]) -> Passes:
    return Passes(network, images, torch.tensor(labels), EVERY_PASS, noise=images)


@pytest.mark.parametrize(("activation", "norm"), [(None, False), ("relu", True), ("relu6", True)])
def test_synflow_of_two_linear_layers(activation: str | None, norm: bool) -> None:
    # |A| = [[1, 2], [3, 4]] gives [3, 7] from ones; |B| = [[5, 6], [7, 8]] sums its columns to [12, 14]
    # sum of w dR/dw of either layer: 3·12 + 7·14 = 134; biases take no part and change no gradient
    # (a norm's running statistics and a bound of 6 must not show)
    weights = {"first_weight": [1, -2, -3, 4], "last_weight": [-5, 6, 7, -8], "last_bias": [100, -100]}
    network = with_weights(linear_chain(activation, norm), **weights)
    images = torch.randn(4, 2, 1, 1, generator=torch.Generator().manual_seed(0))
    passes = passes_of(network, images, [0, 1, 0, 1])
    assert compute(["synflow"], passes)["synflow"] == pytest.approx(math.log(2 * 134), rel=1e-12)


def test_synflow_leaves_the_network_as_it_was() -> None:
    network = TorchNetwork(linear_chain("relu6", norm=True))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    images = torch.randn(4, 2, 1, 1)
    expected = network.eval()(images)
    compute(["synflow"], passes_of(network, images, [0, 1, 0, 1]))
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert torch.equal(network.eval()(images), expected)
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())


def test_synflow_stays_finite_where_single_precision_overflows() -> None:
    b = Builder([(32, 1, 1)])
    x = b.inputs[0]
    for i in range(60):
        x = b.conv(f"conv{i}", x, 32, 1)
    graph = b.build(b.linear("last", b.op("flat", "flatten", x), 2))
    network = with_weights(graph, **{f"conv{i}_weight": [1.0] * 1024 for i in range(60)}, last_weight=[1.0] * 64)
    value = compute(["synflow"], passes_of(network, torch.zeros(2, 32, 1, 1), [0, 1]))["synflow"]
    # R = 2 · 32^61 (each layer multiplies by 32), and every one of the 61 layers contributes R
    assert value == pytest.approx(math.log(61 * 2) + 61 * math.log(32), rel=1e-12)
    assert value is not None
    assert value > math.log(torch.finfo(torch.float32).max)


@pytest.mark.parametrize("activation", ["relu", "relu6"])
def test_naswot_of_known_codes(activation: str) -> None:
    # the identity hands the images to the activation: codes 11, 10 and 00
    network = with_weights(linear_chain(activation), first_weight=[1, 0, 0, 1])
    images = torch.tensor([[3.0, 9.0], [2.0, -1.0], [-4.0, -2.0]]).reshape(3, 2, 1, 1)
    agreeing = [[2, 1, 0], [1, 2, 1], [0, 1, 2]]
    value = compute(["naswot"], passes_of(network, images, [0, 1, 0]))["naswot"]
    assert value == pytest.approx(math.log(np.linalg.det(agreeing)))


def test_naswot_of_equal_codes_and_without_activation_is_none() -> None:
    images = torch.ones(3, 2, 1, 1)
    for graph in (linear_chain("relu"), linear_chain()):
        assert compute(["naswot"], passes_of(TorchNetwork(graph), images, [0, 1, 0]))["naswot"] is None


def test_snip_and_grad_norm_equal_autograd_written_out() -> None:
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(5, 2, 1, 1, generator=generator)
    labels = [0, 1, 1, 0, 1]
    network = TorchNetwork(linear_chain("relu", norm=True))
    first = network.get_parameter("first.weight").detach().clone().requires_grad_()
    last = network.get_parameter("last.weight").detach().clone().requires_grad_()
    hidden = images.flatten(1) @ first[:, :, 0, 0].T
    hidden = (hidden - hidden.mean(0)) / (hidden.var(0, unbiased=False) + 1e-5).sqrt()
    logits = hidden.relu() @ last.T + network.get_parameter("last.bias").detach()
    F.cross_entropy(logits, torch.tensor(labels)).backward()
    expected_snip = sum(float((w.detach() * w.grad).abs().sum()) for w in (first, last))
    expected_norm = sum(float(w.grad.norm()) for w in (first, last))
    values = compute(["snip", "grad_norm"], passes_of(network, images, labels))
    assert values["snip"] == pytest.approx(expected_snip, rel=1e-4)
    assert values["grad_norm"] == pytest.approx(expected_norm, rel=1e-4)


def test_fisher_and_grasp_equal_autograd_written_out() -> None:
    images, labels = torch.randn(5, 2, 1, 1, generator=torch.Generator().manual_seed(3)), torch.tensor([0, 1, 1, 0, 1])
    network = TorchNetwork(linear_chain())
    first = network.get_parameter("first.weight").detach()[:, :, 0, 0].requires_grad_()
    last, bias = network.get_parameter("last.weight").detach().requires_grad_(), network.get_parameter("last.bias")
    hidden = images.flatten(1) @ first.T
    logits = hidden @ last.T + bias.detach()
    loss = F.cross_entropy(logits, labels)
    at_hidden, at_logits = torch.autograd.grad(loss, [hidden, logits], retain_graph=True)
    # two weights a channel in either layer
    fisher = sum(2 * 0.5 * (a * g).square().mean(0).sum() for a, g in ((hidden, at_hidden), (logits, at_logits)))
    once = torch.autograd.grad(loss, [first, last], create_graph=True)
    twice = torch.autograd.grad(sum((g.detach() * g).sum() for g in once), [first, last])
    grasp = -sum((w * h).sum() for w, h in zip((first, last), twice, strict=True))
    values = compute(["fisher", "grasp"], passes_of(network, images, labels.tolist()))
    assert values["fisher"] == pytest.approx(fisher.item(), rel=1e-4)
    assert values["grasp"] == pytest.approx(grasp.item(), rel=1e-4)


def test_zico_of_known_gradients() -> None:
    passes = Passes.__new__(Passes)
    # of the three weights: mean |g| 2, deviation 1; 1 and 2 (signs differ: the deviation is that of g); equal, no part
    pairs = [(torch.tensor([1.0, 1.0, 5.0]), torch.tensor([3.0, -1.0, 5.0]))]
    passes.__dict__["halves"] = [*pairs, (torch.zeros(4), torch.zeros(4))]
    assert import_module("nas.proxies.zico").zico(passes) == pytest.approx(math.log(2 / 1 + 1 / 1))


def test_swap_counts_different_patterns() -> None:
    # the identity hands the images to the activation: units are on for images 0, 1 and for image 0
    network = with_weights(linear_chain("relu"), first_weight=[1, 0, 0, 1])
    images = torch.tensor([[3.0, 9.0], [2.0, -1.0], [-4.0, -2.0]]).reshape(3, 2, 1, 1)
    assert compute(["swap"], passes_of(network, images, [0, 1, 0]))["swap"] == 2
    both = torch.tensor([[3.0, 9.0], [-2.0, -1.0], [-4.0, -2.0]]).reshape(3, 2, 1, 1)
    assert compute(["swap"], passes_of(network, both, [0, 1, 0]))["swap"] == 1


def doubled(b: Builder, x: Value, factor_name: str) -> Value:
    return b.conv(factor_name, x, 2, 1)


def two_blocks(second: list[float]) -> TorchNetwork:
    """Two blocks of a pointwise convolution on 2 channels, the first one the identity."""
    b = Builder([(2, 4, 4)])
    x = b.block("stage1", doubled, b.inputs[0], "conv")
    x = b.block("stage2", doubled, x, "conv")
    graph = b.build(b.linear("last", b.op("flat", "flatten", b.op("pool", "global_avg_pool", x)), 2))
    return with_weights(graph, stage1_conv_weight=[1, 0, 0, 1], stage2_conv_weight=second)


def test_the_terms_of_az_nas_of_two_blocks() -> None:
    # channels without correlation and of equal variance: the spectrum is flat, its entropy log 2
    grid = torch.tensor([1.0, -1.0]).repeat(8).reshape(4, 4)
    images = torch.stack([grid, grid.T]).repeat(3, 1, 1, 1)
    passes = passes_of(two_blocks([1, 0, 0, 1]), images, [0, 1, 0])
    values = compute(["expressivity", "progressivity"], passes)
    assert values["expressivity"] == pytest.approx(2 * math.log(2), abs=1e-5)
    assert values["progressivity"] == pytest.approx(0, abs=1e-5)
    # both channels equal: one direction, entropy 0
    flat = compute(["expressivity", "progressivity"], passes_of(two_blocks([1, 0, 1, 0]), images, [0, 1, 0]))
    assert flat["expressivity"] == pytest.approx(math.log(2), abs=1e-5)
    assert flat["progressivity"] == pytest.approx(-math.log(2), abs=1e-5)


@pytest.mark.parametrize(("factor", "expected"), [(1.0, 0.0), (2.0, 2 - 2 - 1 / 2), (0.25, 2 - 0.25 - 4)])
def test_trainability_falls_with_the_change_of_the_gradient(factor: float, expected: float) -> None:
    torch.manual_seed(0)
    images = torch.randn(64, 2, 4, 4)
    passes = passes_of(two_blocks([factor, 0, 0, factor]), images, [0] * 64)
    # signs of 64 · 16 positions are nearly uncorrelated
    assert compute(["trainability"], passes)["trainability"] == pytest.approx(
        expected, abs=0.1 * factor + 0.4 / factor * 0.1
    )


def test_what_needs_blocks_is_none_without_any() -> None:
    network = TorchNetwork(linear_chain("relu"))
    needing = [name for name, facts in PROXIES.items() if "blocks" in facts.needs]
    assert len(needing) == 3
    values = compute(needing, passes_of(network, torch.randn(4, 2, 1, 1), [0, 1, 0, 1]))
    assert set(values.values()) == {None}


def test_intrain_counts_dimensions() -> None:
    # the identity: two channels of equal variance and no correlation are two dimensions, equal channels are one
    network = with_weights(linear_chain(), first_weight=[1, 0, 0, 1])
    square = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]]).reshape(4, 2, 1, 1)
    assert compute(["intrain"], passes_of(network, square, [0, 1, 0, 1]))["intrain"] == pytest.approx(math.log(2))
    line = torch.tensor([[1.0, 1], [-1, -1], [2, 2], [-2, -2]]).reshape(4, 2, 1, 1)
    assert compute(["intrain"], passes_of(network, line, [0, 1, 0, 1]))["intrain"] == pytest.approx(0, abs=1e-6)


def test_zen_undoes_what_batch_norm_scales() -> None:
    passes = Passes.__new__(Passes)
    features = torch.tensor([[[[1.0, 2.0]]], [[[3.0, 4.0]]]])
    passes.__dict__["perturbed"] = Perturbed(features, features + torch.tensor([1.0, -2.0]), (4.0, 9.0))
    # 3 for either image; the norms divided by 2 and by 3
    assert compute(["zen"], passes)["zen"] == pytest.approx(math.log(3 * 2 * 3))
    passes.__dict__["perturbed"] = Perturbed(features, features, ())
    assert compute(["zen"], passes)["zen"] is None


@pytest.mark.parametrize("norm", [False, True])
def test_the_perturbed_features_are_those_of_gaussian_weights(norm: bool) -> None:
    network = TorchNetwork(linear_chain("relu" if norm else None, norm))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    torch.manual_seed(11)
    passes = passes_of(network, torch.zeros(5, 2, 1, 1), [0, 1, 0, 1, 0])
    generator = torch.Generator().manual_seed(11)
    x, e = torch.randn((2, 5, 2, 1, 1), generator=generator)[..., 0, 0]
    weight = torch.randn((2, 2, 1, 1), generator=generator)[..., 0, 0]
    expected = []
    for images in (x, x + 0.01 * e):
        y = images @ weight.T
        y = ((y - y.mean(0)) / (y.var(0, correction=0) + 1e-5).sqrt()).relu() if norm else y
        expected.append(y)
    assert passes.perturbed.features == pytest.approx(expected[0], rel=1e-4, abs=1e-6)
    assert passes.perturbed.moved == pytest.approx(expected[1], rel=1e-4, abs=1e-6)
    variances = [float((x @ weight.T).var(0).mean())] if norm else []
    assert passes.perturbed.variances == pytest.approx(variances, rel=1e-5)
    weights = [key for key in before if "running" not in key and "num_batches" not in key]
    assert all(torch.equal(network.state_dict()[key], before[key]) for key in weights)


def test_meco_sums_the_least_eigenvalues() -> None:
    passes = Passes.__new__(Passes)
    one, other, flat = [1.0, -1, 1, -1], [1.0, 1, -1, -1], [2.0] * 4
    half = (0.5 * np.array(one) + math.sqrt(0.75) * np.array(other)).tolist()
    # uncorrelated: 1; equal: 0; correlation .5: 1 - .5; a constant channel: 0
    passes.__dict__["positions"] = tuple(
        torch.tensor(pair) for pair in ([one, other], [one, one], [one, half], [one, flat])
    )
    assert compute(["meco"], passes)["meco"] == pytest.approx(1.5, abs=1e-6)


def test_positions_are_those_of_one_image_as_every_convolution_hands_it_on() -> None:
    passes = passes_of(two_blocks([0, 1, 1, 0]), torch.randn(3, 2, 4, 4), [0, 1, 0])
    first, second = passes.positions
    assert first.shape == (2, 16)
    assert torch.equal(second, first.flip(0))


def test_vkdnw_of_a_flat_spectrum_and_of_one_direction() -> None:
    passes = Passes.__new__(Passes)
    passes.__dict__["information"] = 3 * torch.eye(20)
    assert compute(["vkdnw"], passes)["vkdnw"] == pytest.approx(20 + math.log(9), abs=1e-6)
    passes.__dict__["information"] = torch.diag(torch.tensor([1.0] + 19 * [0.0]))
    assert compute(["vkdnw"], passes)["vkdnw"] == pytest.approx(20, abs=1e-6)


def test_the_fisher_information_equals_derivatives_written_out() -> None:
    network = with_weights(linear_chain(), first_weight=[1, 2, 3, 4], last_weight=[5, 6, 7, 8], last_bias=[0.5, 0])
    images = torch.tensor([[0.1, -0.2], [0.3, 0.1]])
    expected = np.zeros((3, 3))
    for x in images.double().numpy():
        hidden = np.array([[1, 2], [3, 4]]) @ x
        logits = np.array([[5, 6], [7, 8]]) @ hidden + [0.5, 0]
        p = np.exp(logits) / np.exp(logits).sum() * 0.95 + 0.05 / 2
        # of the first elements of the first weight, the last weight and the last bias: (classes, 3)
        derivatives = np.array([[5 * x[0], hidden[0], 1], [7 * x[0], 0, 0]])
        expected += derivatives.T @ (np.diag(p) - np.outer(p, p)) @ derivatives / 2
    passes = passes_of(network, images.reshape(2, 2, 1, 1), [0, 1])
    assert passes.information.numpy() == pytest.approx(expected, rel=1e-4, abs=1e-7)


def test_w_pca_counts_the_components_of_hidden_layers() -> None:
    b = Builder([(2, 4, 4)])
    x = b.block("stage1.mlp", mlp, b.inputs[0], 1.0, "gelu", False)
    graph = b.build(b.linear("last", b.op("flat", "flatten", b.op("pool", "global_avg_pool", x)), 2))
    network = with_weights(graph, stage1_mlp_expand_conv_weight=[1, 0, 0, 1])
    grid = torch.tensor([1.0, -1.0]).repeat(8).reshape(4, 4)
    both, one = (torch.stack(pair).repeat(3, 1, 1, 1) for pair in ([grid, grid.T], [grid, grid]))
    assert graph.params == 4 + 4 + 6
    assert compute(["w_pca"], passes_of(network, both, [0, 1, 0]))["w_pca"] == 14 * 2
    assert compute(["w_pca"], passes_of(network, one, [0, 1, 0]))["w_pca"] == 14
    assert components(torch.diag(torch.tensor([0.5, 98.5, 1.0]))) == 2
    assert components(torch.zeros(2, 2)) == 0


def test_what_deepmad_computes_from_shapes() -> None:
    b = Builder([(2, 4, 4)])
    x = b.conv("first", b.inputs[0], 4, 3)
    x = b.conv("second", x, 8, 3, stride=2, groups=2)
    graph = b.build(b.linear("last", b.op("flat", "flatten", b.op("pool", "global_avg_pool", x)), 2))
    values = compute(["entropy", "effectiveness"], GraphOnly(graph))
    # 9 taps of 2 channels at 16 positions of 4 channels, then of 2 channels a group at 4 positions of 8 channels
    first, both = 0.5 * math.log(18), 0.5 * math.log(18) + 0.5 * math.log(18)
    assert values["entropy"] == pytest.approx(math.log(4 * 16) * first + 8 * math.log(8 * 4) * both)
    assert values["effectiveness"] == pytest.approx(max(1 / 18, 2 / 18))


def jacov_of(jacobian: np.ndarray) -> float:
    passes = Passes.__new__(Passes)
    passes.__dict__["jacobian"] = torch.tensor(jacobian)
    value: float = import_module("nas.proxies.jacov").jacov(passes)
    return value


def test_jacov_of_uncorrelated_and_of_two_correlated_images() -> None:
    k = 1e-5
    orthogonal = np.array([[1.0, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
    assert jacov_of(orthogonal) == pytest.approx(-3 * (math.log(1 + k) + 1 / (1 + k)))
    # correlation .5: eigenvalues .5 and 1.5
    half = np.stack([orthogonal[0], 0.5 * orthogonal[0] + math.sqrt(0.75) * orthogonal[1]])
    assert jacov_of(half) == pytest.approx(-sum(math.log(v + k) + 1 / (v + k) for v in (0.5, 1.5)))


def test_jacov_does_not_see_scale_offset_or_order() -> None:
    rng = np.random.default_rng(0)
    jacobian = rng.normal(size=(8, 30))
    changed = (jacobian * rng.uniform(0.5, 9, (8, 1)) + rng.normal(size=(8, 1)))[rng.permutation(8)]
    assert jacov_of(changed) == pytest.approx(jacov_of(jacobian), rel=1e-9)


def test_the_jacobian_is_the_gradient_of_the_sum_of_logits() -> None:
    network = with_weights(linear_chain(), first_weight=[1, 2, 3, 4], last_weight=[5, 6, 7, 8])
    passes = passes_of(network, torch.randn(3, 2, 1, 1), [0, 1, 0])
    # column sums of B are [12, 14]; times A: [12·1 + 14·3, 12·2 + 14·4]
    assert passes.jacobian.tolist() == [[54, 80]] * 3


def layer(b: Builder, x: Value) -> Value:
    return b.op("act", "relu", b.batch_norm("bn", b.conv("conv", x, 16, 1)))


def small_network() -> tuple[TorchNetwork, torch.Tensor]:
    """Sixteen units a block, so that six images differ in their codes."""
    b = Builder([(2, 1, 1)])
    x = b.block("stage2", layer, b.block("stage1", layer, b.inputs[0]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = TorchNetwork(b.build(b.linear("last", b.op("flat", "flatten", x), 2)))
        return network, torch.randn(6, 2, 1, 1)


@pytest.mark.parametrize("name", ALL)
def test_a_proxy_reads_the_passes_it_names(name: str) -> None:
    network, images = small_network()
    passes = Passes(network, images, torch.tensor([0, 1] * 3), get_proxy_facts(name).passes)
    compute([name], passes)
    assert set(passes.runs) == set(get_proxy_facts(name).passes)


def test_every_pass_runs_once_for_all_proxies() -> None:
    network, images = small_network()
    forwards = []
    network.register_forward_hook(lambda *_: forwards.append(1))
    passes = passes_of(network, images, [0, 1] * 3)
    values = compute(ALL * 2, passes)
    assert sorted(passes.runs) == sorted(EVERY_PASS)
    # the batch, each half of it, for synflow, the noise, two with Gaussian weights, two parts of it for the information
    assert len(forwards) == 9
    # no feed-forward block, and one position alone
    missing = {name for name, value in values.items() if value is None}
    assert missing == {"w_pca", "entropy", "effectiveness"}


@pytest.mark.parametrize("name", SPACES)
def test_the_default_score_reads_networks_of_every_space(name: str) -> None:
    space = get_space(name)
    rng = np.random.default_rng(0)
    arch = space.crossover(space.smallest(), space.sample(rng), rng)
    while name == "nas_bench_201" and "none" in space.to_string(arch):
        arch = space.mutate(arch, rng)
    torch.manual_seed(0)
    network = TorchNetwork(space.graph(arch, TASK))
    passes = passes_of(network, torch.randn(4, *network.graph.inputs[0]), [0, 1, 2, 3])
    values = compute(SCORES["default"].proxies, passes)
    assert all(value is not None for value in values.values())


SMALL = get_space("mobilenet_v2_small")


def job(space: str, architecture: str, seed: int = 0) -> ScoreJob:
    return ScoreJob(space, architecture, "digits", ALL, seed)


def test_scoring_is_deterministic_and_touches_no_global_state() -> None:
    smallest = SMALL.to_string(SMALL.smallest())
    torch.manual_seed(5)
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    first = score_architecture(job(SMALL.name, smallest))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert first.error is None
    missing = {name for name, value in first.proxies.items() if value is None or not math.isfinite(value)}
    assert missing == {"w_pca"}  # no feed-forward block
    assert score_architecture(job(SMALL.name, smallest)).proxies == first.proxies
    other = score_architecture(job(SMALL.name, smallest, seed=1)).proxies
    assert other["snip"] != first.proxies["snip"]
    assert other["params"] == first.proxies["params"]


@pytest.mark.parametrize("among", [ALL, ALL[::-1]], ids=["in_order", "reversed"])
def test_a_proxy_is_the_same_alone_and_among_others(among: tuple[str, ...]) -> None:
    smallest = SMALL.to_string(SMALL.smallest())
    together = score_architecture(ScoreJob(SMALL.name, smallest, "digits", among, 0)).proxies
    for name in ALL:
        alone = score_architecture(ScoreJob(SMALL.name, smallest, "digits", (name,), 0)).proxies[name]
        assert together[name] == (None if alone is None else pytest.approx(alone, rel=1e-6)), name


def test_size_is_read_from_the_graph() -> None:
    arch = SMALL.smallest()
    from nas.datasets import get_dataset_facts

    graph = SMALL.graph(arch, get_dataset_facts("digits").task)
    scored = score_architecture(ScoreJob(SMALL.name, SMALL.to_string(arch), "digits", ("params", "macs"), 0))
    assert scored.proxies == {"params": graph.params, "macs": graph.macs}


@pytest.mark.parametrize("last", ["none", "nor_conv_3x3"])
def test_a_network_without_a_path_has_none_values(last: str) -> None:
    cell = f"|none~0|+|none~0|none~1|+|none~0|none~1|{last}~2|"
    scored = score_architecture(job("nas_bench_201", cell))
    assert scored.error is None
    assert scored.proxies["jacov"] is None
    assert scored.proxies["synflow"] is None
    assert scored.proxies["naswot"] is None
    assert scored.proxies["params"] is not None


def test_what_cannot_be_built_is_a_result_with_an_error() -> None:
    scored = score_architecture(job("nas_bench_201", "no cell"))
    assert scored.error is not None
    assert "no cell" in scored.error
    assert set(scored.proxies) == set(ALL)
    assert set(scored.proxies.values()) == {None}


def test_unknown_proxy_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="naswot"):
        score_architecture(ScoreJob(SMALL.name, SMALL.to_string(SMALL.smallest()), "digits", ("nasswot",), 0))
