"""Definitions as text: YAML or JSON, without what a text could do beyond being data."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml
from pydantic import ValidationError

from search_spaces.complaints import describe
from search_spaces.definition import SpaceDefinition
from search_spaces.errors import InvalidSpec

TEXT_BYTES = 256 * 1024
"""The longest text of a definition."""
DEPTH = 16
"""The deepest nesting of a YAML text."""
NODES = 20_000
"""The most scalars, lists and mappings of a YAML text."""

_NUMBER = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")


def read_definition(text: str | bytes, *, as_json: bool = False) -> SpaceDefinition:
    """The definition in a YAML (or JSON) text. Raises: InvalidSpec naming the line or the field."""
    return parse_definition(read_json(text) if as_json else read_yaml(text))


def parse_definition(document: Any) -> SpaceDefinition:
    """The definition of a document that was read. Raises: InvalidSpec naming the field."""
    try:
        return SpaceDefinition.model_validate(document)
    except ValidationError as error:
        errors = error.errors()
        message, hint = describe(errors, SpaceDefinition)
        field = ".".join(map(str, errors[0]["loc"]))
        raise InvalidSpec(message, hint=hint or "docs/spaces.md describes every field", field=field) from None


def read_json(text: str | bytes) -> Any:
    """The document of a JSON text; a key that stands twice is refused. Raises: InvalidSpec."""
    try:
        return json.loads(_decoded(text), object_pairs_hook=_distinct, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise _malformed(f"the text is not JSON: {error.msg} ({where})") from None
    except (ValueError, RecursionError) as error:
        raise _malformed(f"the text is not JSON that can be read: {error}") from None


def read_yaml(text: str | bytes) -> Any:
    """The document of a YAML text: one document of plain data, numbers and truth as JSON has them, no aliases.

    Raises: InvalidSpec with the line.
    """
    decoded = _decoded(text)
    try:
        loader = _Loader(decoded)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise _malformed(f"the text is not YAML that can be read: {error.problem}{where}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _malformed(f"the text is not YAML that can be read: {error}") from None


def _decoded(text: str | bytes) -> str:
    size = len(text if isinstance(text, bytes) else text.encode(errors="replace"))
    if size > TEXT_BYTES:
        raise _malformed(f"the text has {size:,} bytes", f"a definition has at most {TEXT_BYTES:,} bytes")
    try:
        return text if isinstance(text, str) else text.decode("utf-8")
    except UnicodeDecodeError:
        raise _malformed("the text is not UTF-8", "save it as UTF-8") from None


def _malformed(message: str, hint: str = "docs/spaces.md has examples") -> InvalidSpec:
    return InvalidSpec(message if len(message) <= 300 else f"{message[:300]}...", hint=hint)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(n for n in names if names.count(n) > 1)!r} stands twice in one object")
    return found


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")


class _Loader(yaml.SafeLoader):
    """Plain data only; scalars as in YAML 1.2, so that ``1e-5`` is a number and ``off`` a name."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        mark: Any = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "aliases are not read, write it out", mark)
        self._depth += 1
        self._nodes += 1
        if self._depth > DEPTH or self._nodes > NODES:
            problem = f"nested deeper than {DEPTH}" if self._depth > DEPTH else f"more than {NODES:,} values"
            raise yaml.composer.ComposerError(None, None, problem, mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            problem = "a key that is no name" if not isinstance(key, str) else f"the key {key!r} stands twice"
            if not isinstance(key, str) or key in found:
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            found[key] = self.construct_object(value_node, deep=True)
        return found


def _whole(loader: Any, node: Any) -> int:
    return int(loader.construct_scalar(node))


def _number(loader: Any, node: Any) -> float:
    return float(loader.construct_scalar(node))


_SIGNED = list("-+0123456789")
_Loader.yaml_implicit_resolvers = {}
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:null|~|)$"), ["n", "~", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), ["t", "f"])
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(f"^{_WHOLE.pattern}$"), _SIGNED)
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(f"^{_NUMBER.pattern}$"), [*_SIGNED, "."])
_Loader.yaml_constructors = {
    tag: constructor
    for tag, constructor in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.rpartition(":")[2] in ("null", "bool", "int", "float", "str", "seq", "map")
}
_Loader.add_constructor("tag:yaml.org,2002:int", _whole)
_Loader.add_constructor("tag:yaml.org,2002:float", _number)
