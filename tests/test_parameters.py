"""The vocabulary of user-written spaces: every block can be used, and nothing that a user names takes for ever."""

import numpy as np
import pytest

from search_spaces import BLOCKS, Classification, Task
from search_spaces.builder import Builder
from search_spaces.definition import StageDefinition
from search_spaces.definition_check import check_definition
from search_spaces.definition_text import parse_definition
from search_spaces.errors import InvalidGraph
from search_spaces.graph import Graph
from search_spaces.parameters import SET_BY_STAGE, arguments, block_parameters


def test_every_parameter_of_every_block_is_in_the_table() -> None:
    missing = [
        f"{block}.{name}"
        for block in BLOCKS
        for name in arguments(block)
        if name not in SET_BY_STAGE and name not in block_parameters(block)
    ]
    assert missing == [], "give each of them a line in PARAMETERS of search_spaces/parameters.py"


def test_no_parameter_has_the_name_of_a_field() -> None:
    fields = {"block", *StageDefinition.model_fields} - {"stride"}
    assert not [(block, name) for block in BLOCKS for name in arguments(block) if name in fields]


def test_defaults_are_allowed() -> None:
    """But for the windows of patches, which are as large as their stride."""
    wrong = {
        f"{block}.{name}"
        for block in BLOCKS
        for name, parameter in block_parameters(block).items()
        if not parameter.required and not parameter.domain.allows(parameter.default)
    }
    assert wrong == {"patch_embedding.kernel"}


@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_can_stand_in_a_space(block: str) -> None:
    """With the arguments of its example, on inputs of the example's shape."""
    example = dict(zip(arguments(block), BLOCKS[block].example, strict=False))
    stride = example.pop("stride", 1)
    channels = {"channels": example.pop("out_channels")} if "out_channels" in arguments(block) else {}
    first, *size = BLOCKS[block].input_shape
    body = {"name": "body", "block": block, "stride": stride, **channels, "scaled": False, **example}
    definition = parse_definition({"name": "tried", "stages": [body]})
    check_definition(definition, Task((first, *size), Classification(2)))
    (made,) = definition.space().stages
    given = {name: values[0] for name, values in made.options.items()}
    assert given == example


LARGE = 2**22
"""Entries of a table that a block may write into its graph."""


@pytest.mark.parametrize("block", BLOCKS)
def test_no_block_writes_out_tables_without_bound(block: str) -> None:
    """A size that a user names must not fill the memory: such blocks refuse large maps (``check_pairs``)."""
    channels = BLOCKS[block].input_shape[0]

    def entries(side: int) -> int:
        b = Builder([(channels, side, side)])
        try:
            graph = b.build(b.block("block", BLOCKS[block].function, b.inputs[0], *BLOCKS[block].example))
        except InvalidGraph:
            return 0
        return written(graph)

    small, double = entries(16), entries(32)
    if double > 1.5 * small:
        growth = np.log2(double / max(small, 1))
        assert entries(128) < LARGE, (
            f"{block}: {double} entries at 32 pixels, growing with the size to the {growth:.1f}"
        )


def written(graph: Graph) -> int:
    """The entries of the tuples among the attributes of a graph."""
    values = [value for node in graph.nodes for value in node.attrs.values()]
    return sum(len(value) for value in values if isinstance(value, tuple))
