"""Every search space keeps the protocol's promises; the known networks are exact."""

from inspect import signature
from itertools import product
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support_graphs import TASK

from search_spaces import PRESETS, SPACES, Architecture, Classification, Task, get_preset, get_space
from search_spaces.cost import peak_memory_bytes
from search_spaces.errors import InvalidArchitecture, InvalidSpec, UnknownName
from search_spaces.graph import Graph
from search_spaces.staged import Candidate, Stage, StagedSpace, listed


@pytest.mark.parametrize("name", SPACES)
class TestEverySpace:
    def test_samples_mutants_and_children_are_valid_and_round_trip(self, name: str) -> None:
        space = get_space(name)
        rng = np.random.default_rng(3)
        parents = [space.sample(rng) for _ in range(60)]
        for arch in [*parents, *space.cover(), space.smallest()]:
            mutant = space.mutate(arch, rng)
            child = space.crossover(arch, parents[0], rng)
            assert mutant != arch
            assert mutant.id != arch.id
            for member in (arch, mutant, child):
                space.validate(member)
                assert space.from_string(space.to_string(member)) == member
                assert space.from_dict(space.to_dict(member)) == member
                assert space.decode(space.encode(member)) == member

    def test_encoding_is_injective(self, name: str) -> None:
        space = get_space(name)
        rng = np.random.default_rng(4)
        archs = {space.sample(rng) for _ in range(500)}
        assert len({tuple(space.encode(a)) for a in archs}) == len(archs) == len({a.id for a in archs})

    def test_cover_has_every_option(self, name: str) -> None:
        space = get_space(name)
        covered = space.cover()
        for index, choice in enumerate(space.choices):
            assert {arch.values[index] for arch in covered} >= set(choice.options)

    def test_smallest_is_below_every_sample(self, name: str) -> None:
        space = get_space(name)
        rng = np.random.default_rng(5)
        least = space.graph(space.smallest(), TASK)
        for _ in range(100):
            graph = space.graph(space.sample(rng), TASK)
            assert least.params <= graph.params
            assert least.macs <= graph.macs
            assert peak_memory_bytes(least) <= peak_memory_bytes(graph)

    def test_same_generator_same_samples(self, name: str) -> None:
        space = get_space(name)
        assert space.sample(np.random.default_rng(7)) == space.sample(np.random.default_rng(7))

    def test_text_that_is_wrong_says_where(self, name: str) -> None:
        space = get_space(name)
        good = space.to_string(space.smallest())
        for bad in ("", good + "x", good.replace("1", "9"), "nonsense=3"):
            if bad != good:
                with pytest.raises(InvalidArchitecture) as caught:
                    space.from_string(bad)
                assert caught.value.hint

    def test_architectures_of_other_spaces_are_refused(self, name: str) -> None:
        other = get_space(next(n for n in SPACES if n != name))
        with pytest.raises(InvalidArchitecture):
            get_space(name).validate(other.smallest())

    def test_names_are_unique_and_inputs_come_before(self, name: str) -> None:
        space = get_space(name)
        graph = space.graph(space.sample(np.random.default_rng(6)), TASK)
        seen = set(graph.input_names)
        for node in graph.nodes:
            assert set(node.inputs) <= seen
            assert node.name not in seen
            seen.add(node.name)


def tiny_space(depths: tuple[int, ...], kernels: tuple[int, ...], widths: tuple[float, ...]) -> StagedSpace:
    options = {"kernel": kernels, "activation": ("relu",)}
    stages = [
        Stage("stage1", "depthwise_separable", 8, 1, depths, options),
        Stage("stage2", "depthwise_separable", 16, 2, depths[:2], options),
    ]
    return StagedSpace("tiny", stages, width=widths)


@settings(deadline=None, max_examples=30)
@given(
    st.sets(st.integers(1, 3), min_size=1, max_size=3),
    st.sets(st.sampled_from([1, 3, 5]), min_size=1, max_size=3),
    st.sets(st.sampled_from([0.5, 1.0]), min_size=1, max_size=2),
)
def test_size_equals_enumeration(depths: set[int], kernels: set[int], widths: set[float]) -> None:
    space = tiny_space(tuple(sorted(depths)), tuple(sorted(kernels)), tuple(sorted(widths)))
    if space.size > 3000:
        return
    everything = set()
    for values in product(*(range(1, len(c.options) + 1) for c in space.choices)):
        everything.add(space.decode(np.array(values)))
    assert len(everything) == space.size
    assert len({a.id for a in everything}) == space.size


def enumerated(space: StagedSpace) -> set[Architecture]:
    return {space.decode(np.array(codes)) for codes in product(*(range(1, len(c.options) + 1) for c in space.choices))}


LABELS = {
    "plain": Candidate("depthwise_separable", {"kernel": (3, 5), "activation": ("relu",)}),
    "dense": Candidate("conv_bn_act", {"kernel": (1, 3, 5), "activation": ("relu",)}),
    "fixed": Candidate("conv_bn_act", {"kernel": (3,), "activation": ("relu", "relu6")}),
    "only": Candidate("conv_bn_act", {"kernel": (7,), "activation": ("relu6",)}),
}


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.sampled_from(list(LABELS)), min_size=1, max_size=3, unique=True),
    st.sampled_from([(1,), (2,), (1, 2), (1, 3)]),
    st.sampled_from([8, (8, 16)]),
    st.booleans(),
)
def test_a_choice_of_blocks_has_exactly_its_combinations(
    labels: list[str], depths: tuple[int, ...], channels: int | tuple[int, ...], tied: bool
) -> None:
    blocks = {label: LABELS[label] for label in labels}
    space = StagedSpace("blocks", [Stage("stage1", blocks, channels, 2, depths, tied=tied)])
    if prod(len(c.options) for c in space.choices) > 5000:
        return
    everything = enumerated(space)
    assert len(everything) == space.size == len({a.id for a in everything})
    rng = np.random.default_rng(0)
    graphs = set()
    for arch in sorted(everything, key=lambda a: a.id)[:30]:
        space.validate(arch)
        assert space.from_string(space.to_string(arch)) == arch
        for made in (space.mutate(arch, rng), space.crossover(arch, space.sample(rng), rng)):
            assert made in everything
        if space.size > 1:
            assert space.mutate(arch, rng) != arch
        graphs.add(space.graph(arch, TASK).fingerprint)
    assert len(graphs) > 1 or space.size == 1
    covered = space.cover()
    for index, choice in enumerate(space.choices):
        assert {arch.values[index] for arch in covered} >= set(choice.options)


def test_arguments_of_a_block_that_is_not_chosen_are_refused() -> None:
    space = StagedSpace("blocks", [Stage("stage1", {k: LABELS[k] for k in ("plain", "dense")}, 8)])
    arch = space.from_string("stage1.layer1.block=dense,stage1.layer1.dense.kernel=5")
    assert space.to_dict(arch) == {
        "width": 1.0,
        "stage1.layer1.block": "dense",
        "stage1.layer1.dense.kernel": 5,
    }
    for text, message in (
        ("stage1.layer1.block=dense,stage1.layer1.plain.kernel=5", "missing"),
        ("stage1.layer1.block=dense,stage1.layer1.dense.kernel=5,stage1.layer1.plain.kernel=3", "inactive"),
        ("stage1.layer1.dense.kernel=5", "block is missing"),
    ):
        with pytest.raises(InvalidArchitecture, match=message):
            space.from_string(text)
    assert "stage1.layer1.dense" in {name.rpartition(".")[0] for name in names_of(space.graph(arch, TASK))}


def names_of(graph: Graph) -> list[str]:
    return [node.name for node in graph.nodes]


def test_rules_set_arguments_by_the_place_of_a_layer() -> None:
    rules = {"kernel": listed(7, 3, 5), "activation": lambda index, depth: "relu6" if index == depth - 1 else "relu"}
    space = StagedSpace("rules", [Stage("stage1", "conv_bn_act", 8, 2, (2, 3), rules=rules)])
    assert [c.name for c in space.choices] == ["width", "stage1.depth"]
    for depth, last in ((2, 3), (3, 5)):
        nodes = space.graph(space.from_dict({"stage1.depth": depth}), TASK).nodes
        convs = [node for node in nodes if node.op == "conv"]
        assert [node.attrs["kernel"][0] for node in convs] == [7, 3, 5][:depth]
        assert convs[-1].attrs["kernel"] == (last, last)
        assert [node.op for node in nodes if "relu" in node.op] == ["relu"] * (depth - 1) + ["relu6"]


def test_inactive_layers_do_not_tell_architectures_apart() -> None:
    space = tiny_space((1, 2), (3, 5), (1.0,))
    codes = {c.name: i for i, c in enumerate(space.choices)}
    a = np.ones(len(space.choices), dtype=np.int64)
    b = a.copy()
    b[codes["stage1.layer2.kernel"]] = 2
    assert space.decode(a) == space.decode(b)
    b[codes["stage1.depth"]] = 2
    assert space.decode(a) != space.decode(b)


def test_giving_an_inactive_choice_is_refused() -> None:
    space = tiny_space((1, 2), (3, 5), (1.0,))
    values = space.to_dict(space.smallest())
    with pytest.raises(InvalidArchitecture, match=r"stage1\.layer2\.kernel.*inactive"):
        space.from_dict({**values, "stage1.layer2.kernel": 3})
    with pytest.raises(InvalidArchitecture, match=r"stage1\.depth is missing"):
        space.from_dict({k: v for k, v in values.items() if k != "stage1.depth"})
    with pytest.raises(InvalidArchitecture, match="no option"):
        space.from_dict({**values, "stage1.layer1.kernel": True})


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (Stage("s", "depthwise_separable", 8, options={"kernel": (3,)}), "lacks"),
        (Stage("s", "depthwise_separable", 8, options={"kernel": (5, 3), "activation": ("relu",)}), "rise"),
        (Stage("s", "depthwise_separable", 8, options={"kernel": (3, 3), "activation": ("relu",)}), "repeat"),
        (Stage("s", "depthwise_separable", 8, options={"kernel": (1, True), "activation": ("relu",)}), "mix"),
    ],
)
def test_a_space_that_cannot_be_is_refused(stage: Stage, message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        StagedSpace("broken", [stage])


@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [
        ("mobilenetv1_100", 4_231_976, 568_740_352),
        ("mobilenetv2_100", 3_504_872, 300_774_272),
        ("mobilenetv2_140", 6_108_776, 582_195_824),
        ("resnet50", 25_557_032, 4_089_184_256),
    ],
)
def test_presets_have_the_published_costs(name: str, params: int, macs: int) -> None:
    graph = get_preset(name).graph(input_shape=(3, 224, 224), classes=1000)
    assert (graph.params, graph.macs) == (params, macs)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_points_of_their_spaces(name: str) -> None:
    preset = get_preset(name)
    preset.space().validate(preset.architecture())


def test_nas_bench_201_published_counts() -> None:
    space = get_space("nas_bench_201", prune=False)
    cell = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"
    graph = space.graph(space.from_string(cell), TASK)
    assert (graph.params, graph.macs) == (1_531_546, 220_119_680)


def test_nas_bench_201_prunes_what_no_path_joins() -> None:
    cell = "|none~0|+|nor_conv_1x1~0|nor_conv_3x3~1|+|none~0|avg_pool_3x3~1|none~2|"
    pruned, full = get_space("nas_bench_201"), get_space("nas_bench_201", prune=False)
    arch = pruned.from_string(cell)
    assert not [layer for layer in pruned.graph(arch, TASK).layers() if ".edge" in layer.name]
    assert len([layer for layer in full.graph(arch, TASK).layers() if ".edge" in layer.name]) == 30
    assert "zeros" in {node.op for node in pruned.graph(arch, TASK).nodes}


def test_small_inputs_keep_their_size_early() -> None:
    shapes = {}
    for name in ("mobilenet_v2", "mobilenet_v2_small"):
        space = get_space(name)
        shapes[name] = space.graph(space.smallest(), Task((1, 32, 32), Classification(10))).nodes
    assert shapes["mobilenet_v2_small"][-4].shape[1:] == (2, 2)  # 8 pixels, halved twice


def test_options_in_a_name_make_the_space_that_they_name() -> None:
    space = get_space("mobilenet_v3", early_strides=False)
    assert space.name == "mobilenet_v3[early_strides=false]"
    assert get_space(space.name) is space
    assert space.smallest().space == space.name
    assert space.smallest().id != get_space("mobilenet_v3").smallest().id
    assert space.input_sizes == ()
    cells = get_space("nas_bench_201[channels=8,prune=false]")
    assert get_space("nas_bench_201", prune=False, channels=8) is cells
    narrow = get_space("mobilenet_v2", width=(0.5, 1.0))
    assert get_space(narrow.name) is narrow
    for bad, message in (
        ("vovnet[early_stride=false]", "no option 'early_stride'"),
        ("vovnet[early_strides=no]", "cannot be read"),
        ("vovnet[early_strides=0]", "early_strides=0"),
        ('vovnet[scale="big"]', "scale='big'"),
        ("nas_bench_201[cells=1000000]", "out of range"),
        ("mobilenet_v2[width=[[1]]]", "out of range|cannot be read"),
        ("mobilenet_v2[width=1.0]", "width=1.0"),
        ("vovnet[]", "cannot be read"),
        ("mobilenet_v2_small[name=1]", "no option"),
    ):
        with pytest.raises(InvalidSpec, match=message):
            get_space(bad)


@pytest.mark.parametrize(
    "name", [name for name, entry in SPACES.items() if "early_strides" in signature(entry.make).parameters]
)
def test_small_variants_keep_the_size_of_small_images(name: str) -> None:
    small = get_space(name, early_strides=False)
    rng = np.random.default_rng(2)
    for arch in (small.smallest(), small.sample(rng)):
        graph = small.graph(arch, Task((3, 16, 16), Classification(10)))
        assert graph.output_shapes == ((10,),)
        strides = [max(layer.stride) for layer in graph.layers() if layer.op == "conv"]
        assert strides[0] == 1


def test_unknown_names_come_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="mobilenet_v2'"):
        get_space("mobilnet_v2")
    with pytest.raises(UnknownName, match="resnet50"):
        get_preset("resnet5O")
