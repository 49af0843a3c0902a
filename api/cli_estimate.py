"""``hwnas estimate``: what a network costs on a device, layer by layer, without a search."""

from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli_common import (
    URL,
    DataDirOption,
    JsonOption,
    SpaceFileOption,
    UrlOption,
    connect,
    print_json,
    read_space_file,
    reported,
    settings_of,
    stderr,
    stdout,
)


@reported
def estimate(
    space: Annotated[str | None, typer.Argument(metavar="[SPACE]", help="A space, built in or stored.")] = None,
    architecture: Annotated[
        str | None, typer.Argument(metavar="[ARCHITECTURE]", help="Architecture as text, unless --preset is given.")
    ] = None,
    *,
    device: Annotated[str, typer.Option(help="Device, for example local-onnxruntime.")],
    preset: Annotated[str | None, typer.Option(help="Known network that is a point of the space.")] = None,
    file: SpaceFileOption = None,
    dataset: Annotated[str | None, typer.Option(help="Data set: it sets the input's shape and the classes.")] = None,
    input: Annotated[str | None, typer.Option("--input", help="Shape of the input: CHANNELSxHEIGHTxWIDTH.")] = None,
    classes: Annotated[int | None, typer.Option(min=2, max=100_000, help="Outputs of the network.")] = None,
    every_layer: Annotated[bool, typer.Option("--all", help="List every layer, in order of execution.")] = False,
    url: UrlOption = URL,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a network costs on a device: layers, roofline, memory. Nothing is measured.

    Asks the service; where none answers, the profiles in the data folder are read in this process.
    """
    from api.client import ServerUnreachable
    from api.estimate_view import estimate_view

    asked = _asked(space, architecture, preset, file, device, _task(dataset, input, classes))
    try:
        with connect(url) as client:
            found = client.estimate(asked)
    except ServerUnreachable as error:
        stderr().print(f"{error.message}: estimated in this process", style="dim", markup=False, soft_wrap=True)
        found = _in_process(asked, data_dir)
    if as_json:
        print_json(found)
    else:
        stdout().print(estimate_view(found, every_layer=every_layer))


def _asked(
    space: str | None,
    architecture: str | None,
    preset: str | None,
    file: Path | None,
    device: str,
    task: dict[str, Any],
) -> dict[str, Any]:
    """The body of the request. Raises: InvalidSpec where something stands twice or is missing."""
    from search_spaces.errors import InvalidSpec

    if file is not None and architecture is None:
        space, architecture = None, space  # with --file the only argument is the architecture
    if (space is None) == (file is None):
        raise InvalidSpec("give either SPACE or --file", hint="hwnas spaces lists the names")
    if (architecture is None) == (preset is None):
        raise InvalidSpec("give either ARCHITECTURE or --preset", hint="hwnas spaces lists presets")
    network = {"architecture": architecture} if preset is None else {"preset": preset}
    where = read_space_file(file).document if file is not None else space
    return {"space": where, **network, "device": device, **task}


def _task(dataset: str | None, input: str | None, classes: int | None) -> dict[str, Any]:
    """The part of the request that says what goes in and out. Raises: InvalidSpec."""
    from api.cli_space import parse_shape
    from search_spaces.errors import InvalidSpec

    if (input is None) != (classes is None):
        raise InvalidSpec("--input and --classes belong together", hint="for example --input 3x224x224 --classes 1000")
    if input is None:
        return {} if dataset is None else {"dataset": dataset}
    if dataset is not None:
        raise InvalidSpec("give either --dataset or --input", hint="both say what the input is")
    return {"task": {"input_shape": parse_shape(input), "classes": classes}}


def _in_process(asked: dict[str, Any], data_dir: Path | None) -> dict[str, Any]:
    from api.estimating import estimate_here

    return estimate_here(settings_of(data_dir=data_dir), asked).model_dump(mode="json")
