"""Every installed runtime: it computes the network, in the precision, threads and batch of the device."""

import os
import subprocess
import sys
from collections import Counter
from functools import cache

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from support_graphs import randomised

from latency_models.device import Device, local_devices, parse_device
from latency_models.runtimes import RUNTIMES, builder, is_installed, kernel_reader, loader, runner
from latency_models.runtimes.onnx_int8 import calibrate, quantise, quantised_tensors
from search_spaces import get_preset, get_space
from search_spaces.builder import Builder, Value
from search_spaces.deploy import Weights, deploy
from search_spaces.errors import DeviceUnavailable, InvalidGraph, UnsupportedKernel
from search_spaces.graph import Graph
from search_spaces.onnx_graph import random_weights, to_onnx
from search_spaces.task import Classification, Task
from search_spaces.torch_network import TorchNetwork, load_numpy_weights

BATCH = 2
TOLERANCE = {"fp32": 1e-4, "fp16": 1e-2, "int8": 5e-2}
"""Of the largest output. Where int8 goes wrong, a zero point or a scale, outputs differ by their own size."""
QUANTISER_OF_TORCH = 0.15
"""The same for ExecuTorch: the quantised network is this far off in PyTorch itself, and XNNPACK equals that one."""
DEVICES = [f"{status.device.name}-b{BATCH}" for status in local_devices() if status.available]
ON_ONNX = ["local-onnxruntime", "local-openvino"]
FAST = [name for name in DEVICES if "compiled" not in name]


def squeeze_excite(b: Builder, x: Value) -> Value:
    y = b.op("se.pool", "global_avg_pool", x)
    y = b.op("se.relu", "relu", b.conv("se.reduce", y, 8, 1, bias=True))
    y = b.op("se.gate", "hard_sigmoid", b.conv("se.expand", y, x.shape[0], 1, bias=True))
    return b.op("se.mul", "mul_broadcast", x, y)


def small_network() -> Graph:
    """An inverted bottleneck with squeeze-excite, a sum, a pool and a classifier."""
    b = Builder([(8, 12, 12)])
    x = b.inputs[0]
    y = b.op("act1", "relu6", b.conv("expand", x, 24, 1, bias=True))
    y = b.op("act2", "hard_swish", b.conv("depthwise", y, 24, 3, groups=24, bias=True))
    y = b.op("add", "add", x, b.conv("project", squeeze_excite(b, y), 8, 1, bias=True))
    y = b.op("flat", "flatten", b.op("pool", "global_avg_pool", y))
    return b.build(b.op("fc", "linear", y, out_features=5, bias=True))


GRAPH = small_network()
WEIGHTS = random_weights(GRAPH, 3)


@cache
def built(name: str) -> bytes:
    device = parse_device(name)
    if not is_installed(device.runtime):
        pytest.skip(f"{device.runtime} is not installed")
    return builder(device.runtime)(GRAPH, WEIGHTS, device, samples=inputs_of(GRAPH))


def inputs_of(graph: Graph, batch: int = BATCH) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(7)
    return [rng.standard_normal((batch, *shape)).astype(np.float32) for shape in graph.inputs]


def expected(graph: Graph, weights: Weights, batch: int = BATCH) -> NDArray[np.float32]:
    network = TorchNetwork(graph).eval()
    load_numpy_weights(network, weights)
    with torch.no_grad():
        return np.asarray(network(*map(torch.from_numpy, inputs_of(graph, batch))).numpy())


def difference(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


@pytest.mark.parametrize("name", DEVICES)
def test_outputs_are_those_of_the_network(name: str) -> None:
    device = parse_device(name)
    (found,) = runner(device.runtime)(built(name), device, inputs_of(GRAPH))
    assert found.shape == (BATCH, 5)
    allowed = QUANTISER_OF_TORCH if name.startswith("local-executorch-int8") else TOLERANCE[device.precision]
    assert difference(found, expected(GRAPH, WEIGHTS)) <= allowed


@pytest.mark.parametrize("name", FAST)
def test_a_loaded_model_runs_again_and_again(name: str) -> None:
    device = parse_device(name)
    run = loader(device.runtime)(built(name), device)
    for _ in range(3):
        run()


@pytest.mark.parametrize("name", FAST)
def test_another_batch_is_refused(name: str) -> None:
    device = parse_device(name)
    other = Device(name, device.runtime, device.precision, 1, BATCH + 1)
    with pytest.raises(InvalidGraph, match=f"batch {BATCH}"):
        loader(device.runtime)(built(name), other)
    with pytest.raises(InvalidGraph, match="shape"):
        runner(device.runtime)(built(name), device, inputs_of(GRAPH, BATCH + 1))


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("what", ["nothing", "text", "cut"])
def test_a_corrupt_file_is_refused(name: str, what: str) -> None:
    device = parse_device(name)
    file = {"nothing": b"", "text": b"QuantizeLinear no model", "cut": built(name)[: len(built(name)) // 2]}[what]
    with pytest.raises(InvalidGraph) as caught:
        loader(device.runtime)(file, device)
    assert caught.value.hint


@pytest.mark.parametrize("runtime", sorted({parse_device(name).runtime for name in DEVICES if "-int8" in name}))
def test_a_file_of_another_precision_is_refused(runtime: str) -> None:
    names = f"local-{runtime}-b{BATCH}", f"local-{runtime}-int8-b{BATCH}"
    for name, other in (names, names[::-1]):
        with pytest.raises(InvalidGraph, match=r"int8|8-bit|32-bit"):
            loader(runtime)(built(name), parse_device(other))


def tasks() -> int:
    return len(os.listdir("/proc/self/task"))


def test_onnxruntime_has_the_threads_of_the_device() -> None:
    added = []
    for threads in (1, 1, 3):  # the first session may start what all of them share
        before = tasks()
        device = Device("d", "onnxruntime", "fp32", threads, BATCH)
        keep = loader("onnxruntime")(built(f"local-onnxruntime-b{BATCH}"), device)
        added.append(tasks() - before)
        keep()
    assert added[1:] == [0, 2]


def test_openvino_has_the_threads_of_the_device() -> None:
    file = built(f"local-openvino-b{BATCH}")
    from latency_models.runtimes.openvino import compile_network

    for threads in range(1, min(2, len(os.sched_getaffinity(0))) + 1):  # there are no more than may be used
        compiled = compile_network(file, Device("d", "openvino", "fp32", threads, BATCH))
        assert compiled.get_property("INFERENCE_NUM_THREADS") == threads


def test_pytorch_runs_with_the_threads_of_the_device() -> None:
    before = torch.get_num_threads()
    try:
        file = built(f"local-pytorch-b{BATCH}")
        two = loader("pytorch")(file, Device("d", "pytorch", "fp32", 2, BATCH))
        one = loader("pytorch")(file, Device("d", "pytorch", "fp32", 1, BATCH))
        for run, threads in ((two, 2), (one, 1), (two, 2)):
            run()
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_executorch_runs_with_the_threads_of_the_device_or_not_at_all() -> None:
    file = built(f"local-executorch-b{BATCH}")
    from executorch.extension.pybindings import _C as bindings

    two = loader("executorch")(file, Device("d", "executorch", "fp32", 2, BATCH))
    two()
    assert bindings._threadpool_get_thread_count() == 2
    one = loader("executorch")(file, Device("d", "executorch", "fp32", 1, BATCH))
    one()
    assert bindings._threadpool_get_thread_count() == 1
    with pytest.raises(DeviceUnavailable, match="loaded for 2"):
        two()


def float_convolution() -> bytes:
    """A file that says int8, and whose convolution has float32 weights."""
    b = Builder([(8, 12, 12)])
    model = to_onnx(b.build(b.conv("conv", b.inputs[0], 8, 3, bias=True)), batch=1)
    graph = model.graph
    graph.initializer.append(helper.make_tensor("scale", TensorProto.FLOAT, [], [0.02]))
    graph.initializer.append(helper.make_tensor("zero", TensorProto.UINT8, [], [128]))
    graph.node[0].input[0] = "input.dequantise"
    for kind, read, made in (
        ("DequantizeLinear", "input.quantise", "input.dequantise"),
        ("QuantizeLinear", "input", "input.quantise"),
    ):
        graph.node.insert(0, helper.make_node(kind, [read, "scale", "zero"], [made], name=made))
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("name", ON_ONNX)
def test_a_convolution_that_falls_back_to_float_is_refused(name: str) -> None:
    device = parse_device(f"{name}-int8")
    if not is_installed(device.runtime):
        pytest.skip(f"{device.runtime} is not installed")
    with pytest.raises(UnsupportedKernel, match="conv"):
        loader(device.runtime)(float_convolution(), device)


def cell_network() -> Graph:
    space = get_space("nas_bench_201")
    text = "|avg_pool_3x3~0|+|nor_conv_3x3~0|skip_connect~1|+|nor_conv_1x1~0|none~1|nor_conv_3x3~2|"
    return deploy(space.graph(space.from_string(text), Task((3, 16, 16), Classification(10))))[0]


NETWORKS = {
    "mobilenetv2": lambda: deploy(get_preset("mobilenetv2_035").graph(input_shape=(3, 32, 32), classes=10))[0],
    "nas_bench_201": cell_network,
    "squeeze_excite": small_network,
}


@cache
def network(name: str) -> Graph:
    return NETWORKS[name]()


@pytest.mark.parametrize("precision", ["", "-int8"])
@pytest.mark.parametrize("name", ON_ONNX)
@pytest.mark.parametrize("net", NETWORKS)
def test_every_node_runs_in_one_kernel(net: str, name: str, precision: str) -> None:
    device = parse_device(f"{name}{precision}")
    if not is_installed(device.runtime):
        pytest.skip(f"{device.runtime} is not installed")
    graph = network(net)
    read = kernel_reader(device.runtime)
    assert read is not None
    kernels = read(builder(device.runtime)(graph, None, device), device)
    counts = Counter(name for kernel in kernels for name in kernel.nodes)
    nodes = {node.name: node for node in graph.nodes}
    assert set(counts) <= set(nodes)
    assert set(counts.values()) == {1}
    alike = Counter((node.op, node.inputs) for node in graph.nodes)
    for missing in set(nodes) - set(counts):
        if nodes[missing].op == "batch_norm" and device.name == "local-openvino-int8":
            continue  # it does not say what became of a norm that no layer takes in
        assert alike[nodes[missing].op, nodes[missing].inputs] > 1, f"{missing} is in no kernel"
    place = {name: i for i, kernel in enumerate(kernels) for name in kernel.nodes}
    convolutions = [node for node in graph.nodes if node.op == "conv"]
    assert len({place[node.name] for node in convolutions}) == len(convolutions)
    readers = Counter(name for node in graph.nodes for name in node.inputs)
    for node in graph.nodes:
        if node.op == "relu6" and readers[node.inputs[0]] == 1:  # both runtimes fuse it
            assert place[node.name] == place[node.inputs[0]]
    kinds = {kernels[place[node.name]].op for node in convolutions}
    assert kinds <= {"nchwc.Conv", "QLinearConv", "Convolution"}


def test_a_sum_runs_in_the_convolution_that_ends_last() -> None:
    b = Builder([(32, 8, 8)])
    first, second = (b.conv(name, b.inputs[0], 32, 3, bias=True) for name in ("first", "second"))
    graph = b.build(b.op("pool", "global_avg_pool", b.op("add", "add", first, second)))
    device = parse_device("local-onnxruntime")
    read = kernel_reader("onnxruntime")
    assert read is not None
    held = [set(kernel.nodes) for kernel in read(builder("onnxruntime")(graph, None, device), device) if kernel.nodes]
    assert held in ([{"first"}, {"second", "add"}, {"pool"}], [{"second"}, {"first", "add"}, {"pool"}])


def test_the_int8_file_keeps_names_and_holds_int8_weights() -> None:
    model = to_onnx(GRAPH, WEIGHTS, batch=BATCH)
    whole = quantise(model, calibrate(model, dict(zip(GRAPH.input_names, inputs_of(GRAPH), strict=True))))
    onnx.checker.check_model(whole, full_check=True)
    names = [node.name for node in whole.graph.node]
    assert [name for name in names if name in WEIGHTED] == [name for name in WEIGHTED if name in names]
    assert {node.name for node in model.graph.node} <= set(names)
    weights = {init.name: init for init in whole.graph.initializer}
    for entry in ("expand", "depthwise", "fc"):
        array = onnx.numpy_helper.to_array(weights[f"{entry}.weight.int8"])
        assert array.dtype == np.int8
        assert np.abs(array.reshape(len(array), -1)).max(axis=1).tolist() == [127] * len(array)
        assert onnx.numpy_helper.to_array(weights[f"{entry}.bias.int32"]).dtype == np.int32
    assert [o.name for o in whole.graph.output] == list(GRAPH.output_names)


WEIGHTED = [node.name for node in GRAPH.nodes if node.op in ("conv", "linear")]


def test_ranges_are_asked_for_and_checked() -> None:
    model = to_onnx(GRAPH, WEIGHTS, batch=BATCH)
    needed = quantised_tensors(model)
    assert "input" in needed
    assert "expand" not in needed  # the range of act1 is enough
    assert "act1" in needed
    with pytest.raises(InvalidGraph, match="no range for input"):
        quantise(model, {})
    with pytest.raises(InvalidGraph, match="samples of shapes"):
        builder("onnxruntime")(GRAPH, None, parse_device("local-onnxruntime-int8"), samples=[np.zeros((0, 8, 12, 12))])
    with pytest.raises(InvalidGraph, match="not finite"):
        calibrate(model, {"input": np.full((BATCH, 8, 12, 12), np.nan, np.float32)})


@pytest.mark.parametrize("name", ON_ONNX)
def test_int8_follows_the_ranges_that_it_is_given(name: str) -> None:
    device = parse_device(f"{name}-int8-b{BATCH}")
    if not is_installed(device.runtime):
        pytest.skip(f"{device.runtime} is not installed")
    model = to_onnx(GRAPH, WEIGHTS, batch=BATCH)
    ranges = calibrate(model, dict(zip(GRAPH.input_names, inputs_of(GRAPH), strict=True)))
    low, high = ranges["fc"]
    narrow = quantise(model, {**ranges, "fc": (0.0, high / 2)}).SerializeToString()
    (found,) = runner(device.runtime)(narrow, device, inputs_of(GRAPH))
    assert found.max() == pytest.approx(high / 2, rel=1e-3)
    assert low < 0 <= found.min()


@pytest.mark.parametrize("name", ON_ONNX)
def test_tokens_become_8_bit_too(name: str) -> None:
    """Products of tokens have their weights transposed and their bias apart."""
    device = parse_device(f"{name}-int8-b{BATCH}")
    if not is_installed(device.runtime):
        pytest.skip(f"{device.runtime} is not installed")
    b = Builder([(6, 16)])
    x = b.op("gelu", "gelu", b.op("first", "linear", b.inputs[0], out_features=32, bias=True))
    graph = b.build(b.op("second", "linear", x, out_features=16, bias=True))
    weights = randomised(random_weights(graph))
    file = builder(device.runtime)(graph, weights, device, samples=inputs_of(graph, 5))
    (found,) = runner(device.runtime)(file, device, inputs_of(graph))
    assert difference(found, expected(graph, weights)) <= TOLERANCE["int8"]


def test_random_draws_of_the_caller_are_left_alone() -> None:
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    builder("pytorch")(GRAPH, WEIGHTS, parse_device("local-pytorch"))
    assert torch.equal(torch.rand(3), wanted)


def test_devices_are_listed_without_their_runtimes() -> None:
    code = (
        "import sys; from latency_models.device import local_devices; print(len(local_devices()));"
        "heavy = {'torch', 'executorch', 'openvino', 'onnxruntime'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) == sum(len(facts.precisions) for facts in RUNTIMES.values())
