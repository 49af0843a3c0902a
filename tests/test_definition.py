"""Spaces of users: the same in every way of writing, mistakes named by their path, nothing built that cannot be."""

import copy
import json
import pickle
import re
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import Classification, Task, get_space
from search_spaces.definition import SpaceDefinition, space_name, space_of
from search_spaces.definition_build import LAYERS
from search_spaces.definition_check import check_definition
from search_spaces.definition_fields import OPTIONS
from search_spaces.definition_text import parse_definition, read_definition, read_yaml
from search_spaces.errors import InvalidSpec
from search_spaces.network_summary import choose, summarise

GUIDE = Path(__file__).parent.parent / "docs" / "spaces.md"
EXAMPLE = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(), re.DOTALL)[0]
TASK = Task((1, 8, 8), Classification(10))


def document() -> dict[str, Any]:
    found: dict[str, Any] = read_yaml(EXAMPLE)
    return found


def changed(path: str, value: Any) -> dict[str, Any]:
    """The example with the field at a path set, or (None) taken out."""
    made = copy.deepcopy(document())
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    at: Any = made
    for part in parents:
        at = at[part]
    if value is None:
        del at[last]
    elif isinstance(last, int) and last == len(at):
        at.append(value)
    else:
        at[last] = value
    return made


# meaning


def test_the_example_of_the_guide() -> None:
    definition = read_definition(EXAMPLE)
    check_definition(definition)
    check_definition(definition, TASK)
    space = definition.space()
    assert space.size == 2 * 2 * 2 * (6 + 6 * 6) * 4
    assert space.input_sizes == (8, 16)
    assert re.fullmatch(r"two_kinds@[0-9a-f]{12}", space.name)
    names = [choice.name for choice in space.choices]
    assert names[:4] == ["width", "resolution", "body.out_channels", "body.depth"]
    assert "body.layer2.inverted.kernel" in names
    rng = np.random.default_rng(0)
    for arch in [*space.cover(), space.smallest(), *(space.sample(rng) for _ in range(50))]:
        space.validate(arch)
        assert space.from_string(space.to_string(arch)) == arch
        assert space.graph(arch, TASK).output_shapes == ((10,),)


def test_a_network_is_summed_up() -> None:
    space = read_definition(EXAMPLE).space()
    found = summarise(space, choose(space), None, 10)
    assert [(item.name, item.block) for item in found.items] == [
        ("stem", "conv_bn_act"),
        ("body.layer1.ghost", "ghost_bottleneck"),
        ("tail.layer1", "fused_inverted_residual"),
        ("classifier", "classifier"),
    ]
    assert (sum(i.params for i in found.items), sum(i.macs for i in found.items)) == (found.params, found.macs)
    assert found.input == (3, 8, 8)
    assert summarise(space, choose(space), (1, 20, 24), 5).input == (1, 20, 24)


def test_a_preset_is_summed_up_as_published() -> None:
    space = get_space("mobilenet_v2")
    found = summarise(space, choose(space, preset="mobilenetv2_100"), None, 1000)
    assert (found.params, found.macs, found.matmul_macs) == (3_504_872, 300_774_272, 0)
    with pytest.raises(InvalidSpec, match="no preset of space mobilenet_v2") as caught:
        choose(space, preset="mobilenetv2_10O")
    assert "mobilenetv2_100" in caught.value.hint


def backwards(value: Any) -> Any:
    """The same document with every mapping in the opposite order."""
    if isinstance(value, dict):
        return {key: backwards(value[key]) for key in reversed(value)}
    return [backwards(inner) for inner in value] if isinstance(value, list) else value


def test_equal_definitions_have_one_name() -> None:
    first = read_definition(EXAMPLE)
    spellings = [
        read_definition(json.dumps(document()), as_json=True),
        read_definition(yaml.safe_dump(backwards(document()), sort_keys=False)),
        parse_definition(backwards(document())),
        parse_definition(first.document),
        parse_definition(changed("width", [0.5, 1])),
        parse_definition(changed("stages.0.kernel", [3])),
        parse_definition(changed("stages.1.blocks.inverted.expand", [2.0, 4.0])),
        parse_definition(changed("stages.2.depth", 1)),
        parse_definition(changed("description", "other words")),
        SpaceDefinition.model_validate_json(first.model_dump_json()),
        pickle.loads(pickle.dumps(first)),
    ]
    for other in spellings:
        assert other == first
        assert hash(other) == hash(first)
        assert (other.key, space_name(other)) == (first.key, first.key)
        assert other.space().choices == first.space().choices
        assert space_of(other) is space_of(first)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("name", "three_kinds"),
        ("width", 1.0),
        ("resolution", None),
        ("stages.0.stride", 2),
        ("stages.1.blocks.ghost.kernel", 5),
        ("stages.1.tied", True),
        ("stages.2.expand", [1, 2.5]),
    ],
)
def test_other_definitions_have_other_names(path: str, value: Any) -> None:
    definition = parse_definition(changed(path, value))
    assert definition.key != read_definition(EXAMPLE).key
    assert definition.space().name == definition.key


def test_numbers_with_a_part_behind_the_point_stay_so() -> None:
    space = parse_definition(changed("stages.2.expand", [1, 2.5])).space()
    (choice,) = [c for c in space.choices if c.name == "tail.layer1.expand"]
    assert [type(option) for option in choice.options] == [float, float]


def test_an_option_list_of_a_user_promises_no_order_of_cost() -> None:
    definition = parse_definition(
        {
            "name": "falling",
            "stages": [
                {"name": "body", "block": "conv_bn_act", "channels": 16, "kernel": 3, "activation": "relu"},
                {
                    "name": "tail",
                    "block": "inverted_residual",
                    "channels": 16,
                    "kernel": 3,
                    "expand": 2,
                    "activation": "relu",
                    "attention": ["se", "none"],
                },
            ],
        }
    )
    assert not definition.space().ordered


# mistakes

MISTAKES: dict[str, tuple[str, Any, str, str]] = {
    # case: path set, value, path told, in the hint
    "no name": ("name", None, "name", "name"),
    "strange name": ("name", "a b", "name", "matches"),
    "unknown field": ("colour", "red", "colour", "resolution"),
    "nearest field": ("widht", [1.0], "widht", "'width'"),
    "width of nothing": ("width", [0, 1], "width.0", "0.01"),
    "width true": ("width", True, "width", "a number"),
    "falling widths": ("width", [1.0, 0.5], "width.1", "rising"),
    "repeated width": ("width", [1, 1.0], "width.1", "once"),
    "no widths": ("width", [], "width", "1 to 64"),
    "resolution too large": ("resolution", [8, 5000], "resolution.1", "4,096"),
    "resolution with a point": ("resolution", [8.0], "resolution.0", "whole number"),
    "text for a number": ("resolution", "8", "resolution", "whole number"),
    "no stages": ("stages", [], "stages", "at least 1"),
    "stages that are none": ("stages", {"name": "body"}, "stages", "square brackets"),
    "a stage that is none": ("stages.0", 3, "stages.0", "braces"),
    "same name twice": ("stages.2.name", "stem", "stages.2.name", "its own name"),
    "taken name": ("stages.2.name", "classifier", "stages.2.name", "another"),
    "name in capitals": ("stages.2.name", "Tail", "stages.2.name", "matches"),
    "name of torch modules": ("stages.2.name", "train", "stages.2.name", "another"),
    "unknown block": ("stages.0.block", "conv_bn_atc", "stages.0.block", "'conv_bn_act'"),
    "no block": ("stages.0.block", None, "stages.0", "a name, or a mapping"),
    "block and blocks": ("stages.1.block", "conv_bn_act", "stages.1", "a name, or a mapping"),
    "no blocks": ("stages.1.blocks", {}, "stages.1.blocks", "at least 1"),
    "label of torch modules": ("stages.1.blocks.half", {"block": "squeeze_excite"}, "stages.1.blocks.half", "another"),
    "label in capitals": ("stages.1.blocks.Ghost", {"block": "ghost_bottleneck"}, "stages.1.blocks.Ghost", "matches"),
    "block of a label": ("stages.1.blocks.ghost.block", "gost_bottleneck", "stages.1.blocks.ghost.block", "'ghost_"),
    "no block of a label": ("stages.1.blocks.ghost.block", None, "stages.1.blocks.ghost.block", "block"),
    "no channels": ("stages.0.channels", None, "stages.0.channels", "output channels"),
    "too many channels": ("stages.0.channels", 65_537, "stages.0.channels", "65,536"),
    "channels as text": ("stages.1.channels", [16, "24"], "stages.1.channels.1", "whole number"),
    "a stride of three": ("stages.1.stride", 3, "stages.1.stride", "1, 2"),
    "stride true": ("stages.1.stride", True, "stages.1.stride", "1, 2"),
    "no layers": ("stages.1.depth", [0, 1], "stages.1.depth.0", "from 1 to 64"),
    "too many layers": ("stages.1.depth", [1, 65], "stages.1.depth.1", "from 1 to 64"),
    "single with depth": ("stages.0.depth", 2, "stages.0", "leave depth out"),
    "single as a number": ("stages.0.single", 1, "stages.0.single", "true or false"),
    "divisor of nothing": ("stages.0.channel_divisor", 0, "stages.0.channel_divisor", "at least 1"),
    "even kernel": ("stages.0.kernel", 4, "stages.0.kernel", "odd"),
    "even kernel in a list": ("stages.1.blocks.inverted.kernel", [3, 4], "stages.1.blocks.inverted.kernel.1", "odd"),
    "kernel as a number with a point": ("stages.0.kernel", 3.0, "stages.0.kernel", "whole number"),
    "kernel true": ("stages.0.kernel", True, "stages.0.kernel", "whole number"),
    "kernel of two types": ("stages.0.kernel", [1, True], "stages.0.kernel.1", "one type"),
    "kernel as a mapping": ("stages.0.kernel", {"a": 1}, "stages.0.kernel", "a number, a name"),
    "kernel as a list of lists": ("stages.0.kernel", [3, [5]], "stages.0.kernel.1", "a number, a name"),
    "kernel without end": ("stages.0.kernel", float("inf"), "stages.0.kernel", "a number, a name"),
    "kernel of no number": ("stages.0.kernel", [1, float("nan")], "stages.0.kernel.1", "a number, a name"),
    "kernel of many digits": ("stages.0.kernel", 10**400, "stages.0.kernel", "a number, a name"),
    "no expansion": ("stages.1.blocks.ghost.expand", 0, "stages.1.blocks.ghost.expand", "above 0"),
    "unknown activation": ("stages.1.activation", "rellu6", "stages.1.activation", "'relu6'"),
    "unknown attention": ("stages.2.attention", ["none", "see"], "stages.2.attention.1", "'se'"),
    "missing parameter": ("stages.1.blocks.ghost.kernel", None, "stages.1.blocks.ghost.kernel", "odd"),
    "missing parameter of a stage": ("stages.0.activation", None, "stages.0.activation", "one of"),
    "unknown parameter": ("stages.0.expand", 2, "stages.0.expand", "kernel"),
    "nearest parameter": ("stages.0.kernal", 3, "stages.0.kernal", "'kernel'"),
    "nearest field of a stage": ("stages.0.strides", 2, "stages.0.strides", "'stride'"),
    "parameter of no label": ("stages.1.heads", 4, "stages.1.heads", "known: "),
    "unknown parameter of a label": ("stages.1.blocks.ghost.halo", 1, "stages.1.blocks.ghost.halo", "kernel"),
    "what the stage sets": ("stages.0.out_channels", 8, "stages.0.out_channels", "channels and stride"),
    "stride of a label": ("stages.1.blocks.ghost.stride", 2, "stages.1.blocks.ghost.stride", "beside the name"),
    "too many options": ("stages.0.groups", list(range(1, 66)), "stages.0.groups", "1 to 64"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_named_by_its_path(case: str) -> None:
    path, value, told, in_hint = MISTAKES[case]
    with pytest.raises(InvalidSpec) as caught:
        check_definition(parse_definition(changed(path, value)), TASK)
    assert told in caught.value.message
    assert caught.value.field.startswith(told)
    assert in_hint in caught.value.hint


def stage(name: str, block: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "block": block, **fields}


def space(*stages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"name": "tried", "stages": list(stages), **fields}


INVERTED: dict[str, Any] = {"kernel": 3, "expand": 2, "activation": "relu", "attention": "none"}
IMPOSSIBLE: dict[str, tuple[dict[str, Any], str, str]] = {
    # case: document, path told, in the message
    "an option that never fits": (
        space(stage("body", "inverted_residual", channels=24, **INVERTED | {"groups": [1, 5]})),
        "stages.0",
        "layer 1 of stage body, inverted_residual",
    ),
    "an option that fits at one width alone": (
        space(
            stage("stem", "conv_bn_act", channels=48, kernel=3, activation="relu"),
            stage("body", "conv_bn_act", channels=48, kernel=3, activation="relu", groups=[1, 48]),
            width=[0.5, 1.0],
        ),
        "stages.1",
        "24 to 24 channels in 48 groups",
    ),
    "a label that does not fit a later layer": (
        {
            "name": "tried",
            "stages": [
                {
                    "name": "body",
                    "channels": 20,
                    "channel_divisor": 1,
                    "depth": 2,
                    "blocks": {
                        "dense": {"block": "conv_bn_act", "kernel": 3, "activation": "relu"},
                        "shared": {"block": "conv_bn_act", "kernel": 3, "activation": "relu", "groups": 1},
                        "split": {"block": "split_transpose_attention", "scales": 2, "heads": 3},
                    },
                }
            ],
        },
        "stages.0.blocks.split",
        "split_transpose_attention",
    ),
    "inputs that become too small": (
        space(
            *(
                stage(f"s{i}", "conv_bn_act", channels=8, kernel=7, stride=2, activation="relu", padding="valid")
                for i in range(4)
            ),
            resolution=[8],
        ),
        "stages.1",
        "does not fit",
    ),
    "a stride that the block does not take": (
        space(stage("body", "pooled_conv_act", channels=8, stride=2, activation="relu")),
        "stages.0.stride",
        "takes no stride",
    ),
    "channels of a block that keeps them": (
        space(stage("body", "squeeze_excite", channels=8, reduced=2, activation="relu", gate="sigmoid")),
        "stages.0.channels",
        "keeps its channels",
    ),
    "weights that no machine holds": (
        space(
            stage("stem", "conv_bn_act", channels=65_536, kernel=1, activation="relu"),
            stage("body", "conv_bn_act", channels=65_536, kernel=31, activation="relu"),
            resolution=[8],
        ),
        "stages.1",
        "numbers in its output or its weights",
    ),
    "outputs that no machine holds": (
        space(stage("body", "conv_bn_act", channels=4096, kernel=3, activation="relu"), resolution=4096),
        "stages.0",
        "numbers in its output",
    ),
    "attention over too many positions": (
        space(stage("body", "global_attention", heads=1), resolution=4096),
        "stages.0",
        "pairs",
    ),
    "too many layers": (
        space(*(stage(f"s{i}", "conv_bn_act", channels=8, kernel=3, activation="relu", depth=64) for i in range(5))),
        "stages",
        f"more than {LAYERS}",
    ),
    "too many choices": (
        space(
            *(
                stage(
                    f"s{i}",
                    "inverted_residual",
                    channels=8,
                    depth=64,
                    kernel=[1, 3],
                    expand=[1, 2],
                    attention=["se", "none"],
                    activation=["relu", "silu"],
                    groups=[1, 2],
                    full=[False, True],
                    residual=[False, True],
                    norm=["batch", "none"],
                    eps=[1e-5, 1e-3],
                )
                for i in range(4)
            )
        ),
        "stages",
        "choices",
    ),
    "too much to check": (
        space(
            *(stage(f"s{i}", "inverted_residual", channels=list(range(8, 8 * 65, 8)), **INVERTED) for i in range(20)),
            width=[x / 8 for x in range(1, 65)],
        ),
        "stages",
        "would have to be checked",
    ),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_a_space_with_a_network_that_cannot_be_is_refused(case: str) -> None:
    made, told, message = IMPOSSIBLE[case]
    with pytest.raises(InvalidSpec) as caught:
        check_definition(parse_definition(made))
    assert caught.value.field == told
    assert caught.value.message.startswith(told)
    assert message in caught.value.message
    assert caught.value.hint


def test_what_fits_depends_on_the_task() -> None:
    valid = space(stage("body", "conv_bn_act", channels=8, kernel=9, activation="relu", padding="valid"))
    definition = parse_definition(valid)
    check_definition(definition)
    check_definition(definition, Task((3, 9, 9), Classification(2)))
    with pytest.raises(InvalidSpec, match="1x8x8"):
        check_definition(definition, TASK)


def test_patches_may_have_the_size_of_the_stride() -> None:
    stem = stage("stem", "patch_embedding", channels=8, kernel=4, stride=4)
    check_definition(parse_definition(space(stem)))
    with pytest.raises(InvalidSpec, match=r"stages\.0\.kernel"):
        check_definition(parse_definition(space(stem | {"stride": 2})))


def test_the_largest_definitions_are_checked_in_bounded_time() -> None:
    """Five times what it takes on a slow machine: a hang fails, not a load."""
    started = time.monotonic()
    for made, _, _ in IMPOSSIBLE.values():
        with pytest.raises(InvalidSpec):
            check_definition(parse_definition(made))
    deep = [
        stage(f"s{i}", "conv_bn_act", channels=8, kernel=3, activation="relu", depth=[1, 2, 3, 4]) for i in range(64)
    ]
    definition = parse_definition(space(*deep, resolution=[8 * (i + 1) for i in range(OPTIONS)]))
    check_definition(definition)
    definition.space().smallest()
    assert time.monotonic() - started < 120


# properties


@st.composite
def definitions(draw: Any) -> dict[str, Any]:
    def some(values: list[Any]) -> Any:
        chosen = draw(st.sets(st.sampled_from(values), min_size=1, max_size=2))
        listed = sorted(chosen) if not isinstance(values[0], str) else [v for v in values if v in chosen]
        return listed if len(listed) > 1 or draw(st.booleans()) else listed[0]

    def candidate() -> dict[str, Any]:
        block = draw(st.sampled_from(["depthwise_separable", "inverted_residual"]))
        fields = {"block": block, "kernel": some([1, 3]), "activation": some(["relu", "silu"])}
        if block == "inverted_residual":
            fields |= {"expand": some([1, 2.5]), "attention": "none"}
        return fields

    def one_stage(number: int) -> dict[str, Any]:
        made = {"name": f"stage{number}", "channels": some([8, 16]), "depth": some([1, 2]), "tied": draw(st.booleans())}
        made["stride"] = draw(st.sampled_from([1, 2]))
        if draw(st.booleans()):
            return made | candidate()
        labels = draw(st.sets(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=2))
        return made | {"blocks": {label: candidate() for label in labels}}

    stages = [one_stage(i) for i in range(draw(st.integers(1, 2)))]
    return {"name": "drawn", "width": some([0.5, 1.0]), "stages": stages}


@settings(deadline=None, max_examples=60)
@given(definitions())
def test_size_is_the_number_of_architectures_and_samples_are_networks(made: dict[str, Any]) -> None:
    definition = parse_definition(made)
    check_definition(definition, TASK)
    built = definition.space()
    rng = np.random.default_rng(0)
    for arch in [*built.cover(), *(built.sample(rng) for _ in range(10))]:
        built.validate(arch)
        assert built.graph(arch, TASK).output_shapes == ((10,),)
    codes = list(product(*(range(1, len(choice.options) + 1) for choice in built.choices)))
    if len(codes) <= 2000:
        assert len({built.decode(np.array(code)) for code in codes}) == built.size
    assert read_definition(yaml.safe_dump(made)).key == parse_definition(definition.document).key == definition.key
