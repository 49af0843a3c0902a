"""The worked example of docs/adding_a_block.md, done as it says."""

import re
from pathlib import Path

import pytest
import yaml
from support_networks import assert_same, assert_trains

from search_spaces.blocks import BLOCKS, Block
from search_spaces.builder import Builder
from search_spaces.definition import SpaceDefinition

DOCUMENT = (Path(__file__).parent.parent / "docs" / "adding_a_block.md").read_text()


def test_the_example_is_short_and_works(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(DOCUMENT.splitlines()) <= 40
    source, line = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    (stage,) = re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)
    names: dict[str, object] = {"__name__": "search_spaces.blocks.asymmetric", "Block": Block}
    exec(compile(source, "asymmetric.py", "exec"), names)  # the document's own text
    (name, block), *none = eval(f"{{{line}}}", names).items()
    assert not none
    monkeypatch.setitem(BLOCKS, name, block)  # type: ignore[misc]
    b = Builder([block.input_shape])
    graph = b.build(b.block("block", block.function, b.inputs[0], *block.example))
    assert_same(graph)
    assert_trains(graph)
    stages = [{"name": "stem", "block": "conv_bn_act", "channels": 16, "kernel": 3, "activation": "relu"}]
    space = SpaceDefinition.model_validate({"name": "mine", "stages": [*stages, *yaml.safe_load(stage)]}).space()
    assert space.size == 3 + 3**2
