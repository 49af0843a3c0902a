"""``hwnas agents``: add, list and remove the agents of remote devices. ``hwnas agent``: be one."""

from typing import Annotated

import typer

from api.cli_common import URL, JsonOption, UrlOption, connect, print_json, reported, stderr, stdout

app = typer.Typer(help="List the agents of remote devices; add and remove one.", invoke_without_command=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the device, for example pi4.")]


@app.callback()
@reported
def agents(context: typer.Context, url: UrlOption = URL, as_json: JsonOption = False) -> None:
    """List the agents: when each was last heard of, and what it runs on."""
    if context.invoked_subcommand is not None:
        return
    from api.console import agents_table

    with connect(url) as client:
        found = client.agents()
    if as_json:
        print_json(found)
    else:
        stdout().print(agents_table(found) if found else "no agents; make one: hwnas agents add NAME")


@app.command()
@reported
def add(name: NameArgument, url: UrlOption = URL) -> None:
    """Make an agent and print its token, which is shown only now."""
    with connect(url) as client:
        made = client.add_agent(name)
    typer.echo(made["token"])
    console = stderr()
    lines = (
        "on the device, with Python and onnxruntime (pip install onnxruntime):",
        f"  curl -O {url.rstrip('/')}/v1/agent.py",
        f"  python agent.py --server {url.rstrip('/')} --name {name} --token {made['token']}",
        "the service listens on its own machine alone; how the device reaches it: docs/agents.md",
    )
    for line in lines:
        console.print(line, style="dim", markup=False, soft_wrap=True)


@app.command()
@reported
def remove(name: NameArgument, url: UrlOption = URL) -> None:
    """Forget an agent; its token is worth nothing from then on."""
    with connect(url) as client:
        client.remove_agent(name)
    typer.echo(f"removed {name}")


def agent(
    server: Annotated[str, typer.Option(help="Address of the service, for example http://192.168.1.2:8000.")],
    name: Annotated[str, typer.Option(help="Name of this device, as in: hwnas agents add NAME")],
    token: Annotated[str, typer.Option(envvar="HWNAS_AGENT_TOKEN", help="What hwnas agents add printed.")],
) -> None:
    """Time networks on this machine for a service elsewhere, until Ctrl-C or SIGTERM."""
    from latency_models.agent import run_agent

    raise typer.Exit(run_agent(server, name, token))
