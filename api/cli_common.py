"""What the commands of ``hwnas`` share: their options, consoles, and how an error is told."""

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, ParamSpec, TypeVar

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from api.client import Client
    from search_spaces.definition import SpaceDefinition
    from search_spaces.errors import NasError

P = ParamSpec("P")
T = TypeVar("T")

URL = "http://127.0.0.1:8000"
UrlOption = Annotated[str, typer.Option("--url", envvar="HWNAS_URL", help="Address of the service.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the API's JSON instead of a table.")]
DataDirOption = Annotated[
    Path | None, typer.Option("--data-dir", help="Folder of all files of the service.", show_default="./hwnas-data")
]
SpaceFileOption = Annotated[Path | None, typer.Option("--file", help="File of a space of your own, YAML or JSON.")]


def reported(command: Callable[P, T]) -> Callable[P, T]:
    """The command with its errors told in two lines, what was wrong and what would be right, and exit code 1."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        from search_spaces.errors import NasError

        try:
            return command(*args, **kwargs)
        except NasError as error:
            _fail(error)

    return run


def _fail(error: "NasError") -> NoReturn:
    from api.console import error_text

    stderr().print(error_text(error), soft_wrap=True)
    raise typer.Exit(1)


def stdout() -> "Console":
    from rich.console import Console

    return Console(highlight=False)


def stderr() -> "Console":
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def connect(url: str) -> "Client":
    from api.client import Client

    return Client(url)


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2))


def settings_of(**given: Any) -> Any:
    """The settings of the environment, with what was given on the command line."""
    from pydantic import ValidationError

    from api.settings import Settings
    from search_spaces.errors import InvalidSpec

    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise InvalidSpec(f"setting {name}: {first['msg']}", hint=f"see HWNAS_{name.upper()}") from error


def read_space_file(path: Path) -> "SpaceDefinition":
    """The definition in a file (``-``: standard input): JSON where its name ends so, else YAML."""
    from search_spaces.definition_text import read_definition

    return read_definition(read_space_text(path), as_json=is_json(path))


def read_space_text(path: Path) -> bytes:
    """The text of a definition, and not much more of a longer file."""
    from search_spaces.definition_text import TEXT_BYTES
    from search_spaces.errors import InvalidSpec

    try:
        if str(path) == "-":
            return sys.stdin.read(TEXT_BYTES + 1).encode()
        with path.open("rb") as file:
            return file.read(TEXT_BYTES + 1)
    except OSError as error:
        raise InvalidSpec(f"cannot read {path}: {error.strerror}", hint="name a YAML or JSON file") from error


def is_json(path: Path) -> bool:
    return path.suffix.lower() == ".json"
