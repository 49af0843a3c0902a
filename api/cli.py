"""``hwnas``: start the service, submit searches, watch them, and take models away.

Imports that take time stand inside the commands that need them, so that help is there at once.
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api import cli_agent, cli_estimate, cli_space
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

if TYPE_CHECKING:
    from api.client import Client

app = typer.Typer(
    name="hwnas",
    help="Hardware-aware neural architecture search: the most accurate network inside your device's budget.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(cli_space.app, name="space")
app.add_typer(cli_agent.app, name="agents")
app.command("agent")(cli_agent.agent)
app.command()(cli_estimate.estimate)

SearchArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of a search (s_...).")]
WATCH_SECONDS = 7 * 24 * 3600.0
EXPORT_SECONDS = 600.0


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"hwnas {version('hwnas')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Options that stand before a command."""


@app.command()
@reported
def up(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, show_default="8000")] = None,
    data_dir: DataDirOption = None,
) -> None:
    """Start the service on this machine and run until Ctrl-C or SIGTERM."""
    from api.supervisor import run_service

    settings = settings_of(host=host, port=port, data_dir=data_dir)
    console = stderr()
    shown = f"[{settings.host}]" if ":" in settings.host else settings.host
    console.print(f"service   http://{shown}:{settings.port}", markup=False)
    console.print(f"data      {settings.data_dir}", markup=False, soft_wrap=True)
    console.print(f"logs      {settings.log_dir}", markup=False, soft_wrap=True)
    console.print("Ctrl-C ends it; a running search goes on at the next start.", style="dim")
    code = run_service(settings, say=lambda line: console.print(line, markup=False, soft_wrap=True))
    raise typer.Exit(code)


@app.command()
@reported
def submit(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="A JSON file, or - for standard input.")],
    url: UrlOption = URL,
    space: Annotated[
        Path | None, typer.Option("--space", help="File of a space of your own, put in as the search's space.")
    ] = None,
) -> None:
    """Submit a search and print its id."""
    document = _read_spec(spec)
    if space is not None:
        document["space"] = read_space_file(space).document
    with connect(url) as client:
        search = client.submit(document)
    typer.echo(search["id"])
    stderr().print(f"watch it: hwnas watch {search['id']}", style="dim", markup=False)


def _read_spec(path: str) -> dict[str, Any]:
    from search_spaces.errors import InvalidSpec

    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidSpec(f"cannot read {path}: {error.strerror}", hint="name a JSON file, or - for input") from error
    except UnicodeDecodeError as error:
        raise InvalidSpec(f"{path} is not UTF-8 text", hint="save it as UTF-8") from error
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        message = f"{path} is not JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        raise InvalidSpec(message, hint="the specification is one JSON object") from error
    if not isinstance(document, dict):
        raise InvalidSpec(f"{path} does not hold a JSON object", hint="the specification is one JSON object")
    return document


@app.command()
@reported
def watch(
    search_id: SearchArgument,
    url: UrlOption = URL,
    timeout: Annotated[float, typer.Option(min=0, help="Give up after so many seconds.")] = WATCH_SECONDS,
) -> None:
    """Follow a search until it ends; exit code 1 unless it SUCCEEDED."""
    from api.client import ApiError
    from api.console import front_table, watch_search

    console = stdout()
    with connect(url) as client:
        search = watch_search(client, search_id, console, timeout_s=timeout)
        if search["state"] == "SUCCEEDED":
            console.print(front_table(client.front(search_id), search["spec"]))
            return
    if search["error"]:
        raise ApiError(search["error"]["code"], search["error"]["message"], search["error"]["hint"])
    raise typer.Exit(1)


@app.command("list")
@reported
def list_searches(
    url: UrlOption = URL,
    state: Annotated[str | None, typer.Option(help="Only searches in this state, such as RUNNING.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List the searches, newest first."""
    from itertools import islice

    from api.console import searches_table

    query = {"state": state.upper()} if state else {}
    with connect(url) as client:
        found = list(islice(client.list(**query, page_size=min(limit, 200)), limit))
    if as_json:
        print_json(found)
    else:
        stdout().print(searches_table(found) if found else "no searches")


@app.command()
@reported
def show(search_id: SearchArgument, url: UrlOption = URL, as_json: JsonOption = False) -> None:
    """Show one search: state, counts, what the bounds rejected, and its specification."""
    from api.console import search_view

    with connect(url) as client:
        search = client.get(search_id)
    if as_json:
        print_json(search)
    else:
        stdout().print(search_view(search))


@app.command()
@reported
def front(search_id: SearchArgument, url: UrlOption = URL, as_json: JsonOption = False) -> None:
    """Print the Pareto front: accuracy, latency measured and predicted, sizes."""
    from api.console import front_table

    with connect(url) as client:
        found = client.front(search_id)
        if as_json:
            print_json(found)
            return
        search = client.get(search_id)
    if found["items"]:
        stdout().print(front_table(found, search["spec"]))
    else:
        stderr().print(f"no trial has been measured yet; the search is {search['state']}", style="dim")


@app.command()
@reported
def export(
    target: Annotated[str, typer.Argument(metavar="ID", help="A trial (t_...), or a search: then its winner.")],
    url: UrlOption = URL,
    format: Annotated[str, typer.Option(help="Format of the model file.")] = "onnx",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File or folder to write to.", show_default="./TRIAL.onnx")
    ] = None,
) -> None:
    """Export a trained trial: a checked, measured model file."""
    from api.client import ApiError
    from api.console import export_view

    with connect(url) as client:
        trial_id = _trial_of(client, target)
        export_id = client.export(trial_id, format)["id"]
        with stderr().status(f"exporting {trial_id}"):
            done = client.wait_export(export_id, timeout_s=EXPORT_SECONDS)
        if done["state"] != "SUCCEEDED":
            raise ApiError(done["error"]["code"], done["error"]["message"], done["error"]["hint"])
        name = f"{trial_id}{Path(done['report']['file']).suffix}"
        path = output / name if output is not None and output.is_dir() else output or Path(name)
        client.download(export_id, path)
    stdout().print(export_view(done))
    typer.echo(str(path))


def _trial_of(client: "Client", target: str) -> str:
    """The trial that is meant: itself, or the winner of a search."""
    from api.figures import winner_id
    from search_spaces.errors import Infeasible

    if not target.startswith("s_"):
        return target
    trial_id = winner_id(client.front(target)["items"])
    if trial_id is None:
        raise Infeasible(f"search {target} has no front", hint=f"how it stands: hwnas show {target}")
    return trial_id


@app.command()
@reported
def cancel(search_id: SearchArgument, url: UrlOption = URL) -> None:
    """Ask a search to stop."""
    with connect(url) as client:
        search = client.cancel(search_id)
    typer.echo("cancelled" if search["state"] == "CANCELLED" else "stopping")


@app.command()
@reported
def devices(url: UrlOption = URL, as_json: JsonOption = False) -> None:
    """List the devices, and the spaces for which each has been profiled."""
    from api.console import devices_table

    with connect(url) as client:
        found = client.devices()
    if as_json:
        print_json(found)
    else:
        stdout().print(devices_table(found))


@app.command()
@reported
def spaces(url: UrlOption = URL, as_json: JsonOption = False) -> None:
    """List the search spaces: the service's, or the built-in ones where none answers."""
    from api.client import ServerUnreachable
    from api.console import spaces_table

    try:
        with connect(url) as client:
            found = client.spaces()
    except ServerUnreachable as error:
        from api.space_present import present_space
        from search_spaces import SPACES

        stderr().print(f"{error.message}: only the built-in spaces are listed", style="dim", markup=False)
        found = [present_space(name, None).model_dump(mode="json") for name in SPACES]
    if as_json:
        print_json(found)
    else:
        stdout().print(spaces_table(found))


@app.command()
@reported
def profile(
    device: Annotated[str, typer.Option(help="Device, for example local-onnxruntime, or one of an agent.")],
    space: Annotated[str | None, typer.Option(help="Name of a search space, built in or stored.")] = None,
    file: SpaceFileOption = None,
    dataset: Annotated[
        str | None, typer.Option(help="Data set: it sets the input and the classes.", show_default="digits")
    ] = None,
    input: Annotated[str | None, typer.Option(help="Instead: CHANNELSxHEIGHTxWIDTH.")] = None,
    classes: Annotated[int, typer.Option(min=2, max=100_000, help="Outputs, with --input.")] = 10,
    minutes: Annotated[float, typer.Option(min=0.01, max=1000, help="About how long to time.")] = 8.0,
    data_dir: DataDirOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Which networks are measured.")] = 0,
) -> None:
    """Measure a device for a space and store the profile for the service. Ctrl-C loses nothing: start it again."""
    from api.console import accuracy_view
    from api.profiling import known_space, profile_and_store, task_for
    from search_spaces.errors import InvalidSpec

    if (space is None) == (file is None):
        raise InvalidSpec("give either --space or --file", hint="the name of a space, or the file of a definition")
    task = task_for(dataset, cli_space.parse_shape(input) if input else None, classes)
    settings = settings_of(data_dir=data_dir)
    reference = read_space_file(file) if file else known_space(settings, space or "")
    found = profile_and_store(settings, device, reference, task, seed=seed, minutes=minutes, console=stderr())
    stdout().print(accuracy_view(found.report))


if __name__ == "__main__":
    app()
