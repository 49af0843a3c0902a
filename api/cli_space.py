"""``hwnas space``: look at a search space and at one of its networks, check a file, store and remove it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli_common import (
    URL,
    JsonOption,
    SpaceFileOption,
    UrlOption,
    connect,
    is_json,
    print_json,
    read_space_file,
    read_space_text,
    reported,
    stderr,
    stdout,
)

if TYPE_CHECKING:
    from search_spaces.definition import SpaceReference
    from search_spaces.task import Task

app = typer.Typer(help="Look at a search space; check, store and remove one of your own.", no_args_is_help=True)

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="YAML or JSON file, or - for standard input.")]
InputOption = Annotated[str | None, typer.Option("--input", help="Shape of the input: CHANNELSxHEIGHTxWIDTH.")]
ClassesOption = Annotated[int, typer.Option(min=2, max=100_000, help="Outputs of the network.")]
CLASSES = 10
PUBLISHED_CLASSES = 1000


@app.command()
@reported
def show(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A space, built in or stored.")] = None,
    file: SpaceFileOption = None,
    arch: Annotated[str | None, typer.Option(help="Architecture as text.", show_default="the smallest")] = None,
    preset: Annotated[str | None, typer.Option(help="Known network that is a point of the space.")] = None,
    input: InputOption = None,
    classes: Annotated[
        int | None, typer.Option(min=2, max=100_000, help="Outputs of the network.", show_default="10, or as published")
    ] = None,
    url: UrlOption = URL,
    as_json: JsonOption = False,
) -> None:
    """Show a network of a space: its layers with shapes, parameters and MACs, and what it costs as a whole."""
    from api.space_view import network_view
    from search_spaces.definition import space_of
    from search_spaces.errors import InvalidSpec
    from search_spaces.network_summary import choose, summarise

    if arch and preset:
        raise InvalidSpec("give either --arch or --preset", hint="both name one network")
    space = space_of(_reference(name, file, url))
    chosen = choose(space, arch=arch, preset=preset)
    shape = parse_shape(input) if input else None
    found = summarise(space, chosen, shape, classes or (PUBLISHED_CLASSES if preset else CLASSES))
    if as_json:
        print_json(found.to_dict())
    else:
        stdout().print(network_view(space, found))


@app.command()
@reported
def check(file: FileArgument, input: InputOption = None, classes: ClassesOption = CLASSES) -> None:
    """Check a file, without a service: its fields, and that every network can be built."""
    from math import log10

    from api.figures import space_size
    from search_spaces.definition_check import check_definition

    definition = read_space_file(file)
    check_definition(definition, _task(input, classes) if input else None)
    space = definition.space()
    size = space_size(space.size, log10(space.size))
    typer.echo(f"{definition.key}: {size} architectures, {len(space.choices)} choices, every network can be built")


@app.command()
@reported
def add(file: FileArgument, url: UrlOption = URL) -> None:
    """Store a space under the name in its file, and print what architectures and profiles will call it."""
    text = read_space_text(file)
    with connect(url) as client:
        stored = client.add_space(text, as_json=is_json(file))
    typer.echo(stored["key"])
    stderr().print(f"look at it: hwnas space show {stored['name']}", style="dim", markup=False)


@app.command()
@reported
def remove(name: Annotated[str, typer.Argument(metavar="NAME")], url: UrlOption = URL) -> None:
    """Remove a stored space; searches that used it keep its definition."""
    with connect(url) as client:
        client.remove_space(name)
    typer.echo(f"removed {name}")


@app.command()
@reported
def blocks(name: Annotated[str | None, typer.Argument(metavar="[BLOCK]", help="One block in full.")] = None) -> None:
    """List the blocks that a space of your own can use, or what each parameter of one may be."""
    from api.space_view import block_view, blocks_table
    from search_spaces import BLOCKS
    from search_spaces.errors import UnknownName, nearest

    if name is not None and name not in BLOCKS:
        raise UnknownName(f"there is no block {name!r}", hint=nearest(name, list(BLOCKS)))
    stdout().print(block_view(name) if name else blocks_table())


def parse_shape(text: str) -> tuple[int, int, int]:
    """The shape written as ``3x224x224``. Raises: InvalidSpec."""
    from search_spaces.errors import InvalidSpec

    parts = text.split("x")
    if len(parts) != 3 or not all(len(part) < 6 and part.isdecimal() and int(part) for part in parts):
        raise InvalidSpec(f"input {text[:50]!r} is no shape", hint="CHANNELSxHEIGHTxWIDTH, for example 3x224x224")
    channels, height, width = map(int, parts)
    return channels, height, width


def _task(shape: str, classes: int) -> "Task":
    from search_spaces.task import Classification, Task

    return Task(parse_shape(shape), Classification(classes))


def _reference(name: str | None, file: Path | None, url: str) -> "SpaceReference":
    """What is meant: a file, a built-in name, or a name that the service knows."""
    from api.client import ServerUnreachable
    from search_spaces import SPACES
    from search_spaces.definition import is_built_in
    from search_spaces.definition_text import parse_definition
    from search_spaces.errors import InvalidSpec, UnknownName, nearest

    if (name is None) == (file is None):
        raise InvalidSpec("give either NAME or --file", hint="hwnas spaces lists the names")
    if file is not None:
        return read_space_file(file)
    if is_built_in(str(name)):
        return str(name)
    try:
        with connect(url) as client:
            return parse_definition(client.space(str(name))["definition"])
    except ServerUnreachable as error:
        message = f"{name!r} is no built-in space, and {error.message}"
        raise UnknownName(message, hint=nearest(str(name), list(SPACES))) from error
