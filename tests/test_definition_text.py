"""Definitions as text: plain data is read as JSON has it, anything else is refused."""

import pytest

from search_spaces.definition_text import DEPTH, TEXT_BYTES, read_definition, read_yaml
from search_spaces.errors import InvalidSpec

REFUSED_TEXTS: dict[str, tuple[str, str]] = {
    "an alias": ("name: &a x\ndescription: *a\n", "aliases"),
    "a bomb of aliases": ("a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n", "aliases"),
    "a tag that runs code": ("name: !!python/object/apply:os.getcwd []\n", "python/object"),
    "a tag of our own": ("name: !space x\n", "!space"),
    "a set": ("name: !!set {a}\n", "set"),
    "a date": ("stages: 2026-01-01\n", "stages"),
    "a key twice": ("name: a\nname: b\n", "'name' stands twice (line 2"),
    "a key that is no name": ("1: a\n", "no name"),
    "a merge": ("<<: {name: a}\n", "<<"),
    "two documents": ("name: a\n---\nname: b\n", "another document"),
    "nothing": ("", "one object"),
    "a list": ("- name: a\n", "one object"),
    "a line that is wrong": ("name: a\n  stages: [\n", "(line 2"),
    "deep nesting": ("[" * 100_000, f"deeper than {DEPTH}"),
    "many values": ("stages: [" + "1," * 60_000 + "]", "values"),
    "many digits": ("width: " + "9" * 5000, "digits"),
    "control characters": ("name: \x07", "YAML"),
    "too long": ("#" * (TEXT_BYTES + 1), "bytes"),
}


@pytest.mark.parametrize("case", REFUSED_TEXTS)
def test_a_text_that_is_no_plain_data_is_refused(case: str) -> None:
    text, message = REFUSED_TEXTS[case]
    with pytest.raises(InvalidSpec) as caught:
        read_definition(text)
    assert message in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"name": "a", "name": "b"}', "'name' stands twice"),
        ('{"name": NaN}', "NaN"),
        ('{"name": ', "line 1, column 10"),
        ("[" * 100_000, "recursion"),
        ('{"width": ' + "9" * 5000 + "}", "digits"),
    ],
)
def test_json_that_is_no_plain_data_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        read_definition(text, as_json=True)
    assert message in caught.value.message
    with pytest.raises(InvalidSpec, match="UTF-8"):
        read_definition(b'{"name": "\xff"}', as_json=True)


def test_yaml_reads_what_json_would() -> None:
    text = "{a: 1e-5, b: off, c: 010, d: 1_000, e: 0x10, f: 1:30, g: none, h: null, i: true, j: -3, k: 1., l: ~, m: .5}"
    assert read_yaml(text) == {
        "a": 1e-5, "b": "off", "c": "010", "d": "1_000", "e": "0x10", "f": "1:30", "g": "none",
        "h": None, "i": True, "j": -3, "k": 1.0, "l": None, "m": 0.5,
    }  # fmt: skip
