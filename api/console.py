"""The API's answers as rich renderables, for the command line and the demo."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from api.figures import (
    NOTHING,
    Cell,
    Column,
    cell,
    duration,
    front_columns,
    phase_text,
    space_label,
    space_size,
    winner_id,
)
from search_spaces.errors import NasError

if TYPE_CHECKING:
    from api.client import Client

Json = Mapping[str, Any]

STATE_STYLES = {
    "QUEUED": "dim",
    "RUNNING": "cyan",
    "PAUSED": "yellow",
    "SUCCEEDED": "green",
    "FAILED": "bold red",
    "CANCELLED": "yellow",
}
BAR_WIDTH = 24


def error_text(error: NasError) -> Text:
    """What was wrong, and below it what would be right."""
    text = Text.assemble(("error: ", "bold red"), error.message)
    if error.hint:
        text.append(f"\n{error.hint}", style="dim")
    return text


def state_text(state: str) -> Text:
    return Text(state, style=STATE_STYLES.get(state, ""))


def front_table(front: Json, spec: Json) -> Table:
    """A front: accuracy, measured beside predicted, sizes, trial id; the winner is marked with a star.

    Baselines are marked too; those behind the front stand below it.
    """
    behind = [item for item in front["baselines"] if not item["on_front"] and "accuracy" in item["metrics"]]
    items: Sequence[Json] = [*front["items"], *behind]
    winner = winner_id(front["items"])
    marks = "★ highest accuracy   ± 90 % interval" + ("   ◆ baseline" if front["baselines"] else "")
    # narrow enough for a terminal of 80 columns
    table = _table(caption=marks if winner else None, padding=0)
    table.add_column("", width=1)
    columns = front_columns(spec, items)
    devices = {column.device for column in columns if column.device}
    for column in columns:
        heading = Text("\n".join([*column.title.split(), *([column.unit] if column.unit else [])]))
        if len(devices) > 1 and column.device:
            heading.append(f"\n{column.device}", style="dim")
        table.add_column(heading, justify="right", style="dim" if column.field == "predicted" else "", no_wrap=True)
    table.add_column("trial", no_wrap=True)
    for item in items:
        wins = item["trial_id"] == winner
        cells = [Text(_short(cell(item, column), column)) for column in columns]
        style = "bold green" if wins else "dim" if item in behind else ""
        table.add_row("★" if wins else "◆" if item["baseline"] else "", *cells, item["trial_id"], style=style)
    return table


def _short(figure: Cell, column: Column) -> str:
    """A figure in few characters: 136k for 136,402, and an error below 1 without its zero."""
    if column.unit == "" and column.decimals == 0 and figure.value != NOTHING:
        value = float(figure.value.replace(",", ""))
        return f"{value / 1e6:.2f}M" if value >= 1e6 else f"{value / 1e3:.0f}k" if value >= 1e4 else figure.value
    return f"{figure.value} ±{figure.error.removeprefix('0')}" if figure.error else figure.value


def progress_view(search: Json, *, best: Json | None = None, front_size: int = 0) -> RenderableType:
    """One search as it stands: phase, bar, best accuracy so far (a trial's JSON) and size of the front."""
    done, total = search["progress"]["done"], search["progress"]["total"]
    line = Table.grid(padding=(0, 2))
    line.add_row(
        state_text(search["state"]),
        Text(phase_text(search), style="bold"),
        ProgressBar(total=max(total, 1), completed=min(done, max(total, 1)), width=BAR_WIDTH),
        Text(f"{done:,} of {total:,}" if total else ""),
        Text(duration(search["elapsed_seconds"]), style="dim"),
    )
    facts = [f"{sum(search['trials'].values()):,} scored"]
    if best is not None and "accuracy" in best["metrics"]:
        accuracy = best["metrics"]["accuracy"]
        error = f" ±{accuracy['error']:.4f}" if accuracy["error"] is not None else ""
        facts.append(f"best accuracy {accuracy['value']:.4f}{error} after {best['epochs']} epochs")
    if front_size:
        facts.append(f"{front_size} on the front")
    return Group(line, Text("  ".join(facts), style="dim"))


def watch_search(client: "Client", search_id: str, console: Console, *, timeout_s: float) -> Json:
    """The search once it has ended, shown live until then; without a terminal, one line for each phase.

    Raises: as ``Client.wait``.
    """

    def view(search: Json) -> RenderableType:
        best, front_size = None, 0
        if search["phase"] in ("train", "measure"):
            best = client.best(search_id)
            front_size = len(client.front(search_id)["items"])
        return progress_view(search, best=best, front_size=front_size)

    if console.is_terminal:
        with Live(console=console, refresh_per_second=8) as live:
            return client.wait(search_id, timeout_s=timeout_s, on_update=lambda search: live.update(view(search)))
    told = ""

    def tell(search: Json) -> None:
        nonlocal told
        if (phase := phase_text(search)) and phase != told:
            console.print(phase)
            told = phase

    search = client.wait(search_id, timeout_s=timeout_s, on_update=tell)
    console.print(view(search))
    return search


def searches_table(searches: Sequence[Json]) -> Table:
    table = _table()
    for name in ("id", "name", "state", "phase", "progress", "space", "created"):
        table.add_column(name, justify="right" if name == "progress" else "left", no_wrap=name in ("id", "state"))
    for search in searches:
        progress = search["progress"]
        table.add_row(
            search["id"],
            Text(search["name"]),
            state_text(search["state"]),
            phase_text(search),
            f"{progress['done']:,}/{progress['total']:,}" if progress["total"] else NOTHING,
            Text(space_label(search["spec"]["space"])),
            when(search["created_at"]),
        )
    return table


def search_view(search: Json) -> RenderableType:
    """One search in full: state, counts, what the bounds rejected, and its specification."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim")
    facts.add_row("id", search["id"])
    facts.add_row("state", Text.assemble(state_text(search["state"]), "  ", phase_text(search)))
    facts.add_row("created", when(search["created_at"]))
    facts.add_row("time", duration(search["elapsed_seconds"]))
    facts.add_row("trials", Text(_counts(search["trials"])))
    facts.add_row("rejected", Text(_counts(search["rejected"])))
    if search["report_card"]:
        facts.add_row("foretold", _foretold(search["report_card"]))
    parts: list[RenderableType] = [facts]
    if search["error"]:
        parts.append(Text.assemble((search["error"]["message"], "red"), "\n", (search["error"]["hint"], "dim")))
    parts.append(Syntax(json.dumps(search["spec"], indent=2), "json", background_color="default", word_wrap=True))
    return Panel(Group(*parts), title=Text(search["name"]), title_align="left", box=box.ROUNDED)


def _foretold(card: Json) -> Text:
    """How well accuracy was foretold, best first."""
    known = dict(card["tau"])
    known[f"score {card['score']}"] = known.pop("score")
    if card["surrogate_tau"] is not None:
        known["surrogate"] = card["surrogate_tau"]
    said = Text(f"Kendall's tau over {card['trained']:,} trained networks\n", style="dim")
    for name, tau in sorted(known.items(), key=lambda pair: -pair[1]):
        notes = ["dropped"] if name in card["dropped"] else []
        if count := card["not_finite"].get(name):
            notes.append(f"not finite on {count:,}")
        said.append("  ".join([f"{tau:+.2f}", name, *notes]) + "\n", style="dim" if notes else "")
    said.rstrip()
    return said


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items()) or NOTHING


def devices_table(devices: Sequence[Json]) -> Table:
    """Devices: what runs there, and for which spaces a profile is stored."""
    table = _table()
    for name in ("device", "runtime", "precision", "threads", "batch", "state", "profiled spaces"):
        table.add_column(name, justify="right" if name in ("threads", "batch") else "left")
    for device in devices:
        state = Text("available", style="green") if device["available"] else Text("not available", style="dim")
        if device["kind"] == "analytic":
            state = Text("analytic", style="cyan")
            if device["precision"] == device["facts"]["precision"]:
                state.append(f"\n{device['facts']['description']}", style="dim")
        if not device["available"] and device["install"]:
            state.append(f"\n{device['install']}", style="dim")
        spaces = ", ".join(dict.fromkeys(profile["space"] for profile in device["profiles"]))
        row = [device[key] for key in ("name", "runtime", "precision", "threads", "batch_size")]
        shown = [NOTHING if value is None else f"{value:,}" if isinstance(value, int) else value for value in row]
        table.add_row(*map(Text, shown), state, Text(spaces or NOTHING))
    return table


def agents_table(agents: Sequence[Json]) -> Table:
    """Agents: when each was last heard of, and what it runs on."""
    table = _table()
    for name in ("agent", "state", "last seen", "onnxruntime", "threads", "cpu"):
        table.add_column(name, justify="right" if name == "threads" else "left")
    for agent in agents:
        state = Text("connected", style="green") if agent["connected"] else Text("not connected", style="dim")
        seen = when(agent["last_seen_at"]) if agent["last_seen_at"] else "never"
        threads = NOTHING if agent["threads"] is None else str(agent["threads"])
        facts = (seen, agent["runtime_version"] or NOTHING, threads, agent["cpu"] or NOTHING)
        table.add_row(Text(agent["name"]), state, *map(Text, facts))
    return table


def spaces_table(spaces: Sequence[Json]) -> Table:
    table = _table()
    for name in ("space", "architectures", "choices", "presets", "paper"):
        table.add_column(name, justify="right" if name in ("architectures", "choices") else "left")
    for space in spaces:
        presets, papers = space["presets"], space["papers"]
        table.add_row(
            Text(space["name"], style="cyan" if space["stored"] else ""),
            NOTHING if space["error"] else space_size(space["size"], space["size_log10"]),
            f"{space['choice_count']:,}",
            Text(_first(presets) or NOTHING),
            Text(space["error"]["message"], style="red") if space["error"] else Text(_first(papers) or NOTHING),
        )
    return table


def _first(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    return names[0] + (f" + {len(names) - 1}" if len(names) > 1 else "") if names else ""


def export_view(export: Json) -> RenderableType:
    """The report of a finished export."""
    return report_view(export["report"] or {})


def report_view(report: Json) -> RenderableType:
    """A report: every figure that it states, in its own order."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    for name, value in report.items():
        values = value if _is_list(value) and value and isinstance(value[0], Mapping) else [value]
        for i, one in enumerate(values):
            facts.add_row("" if i else name.replace("_", " "), Text(report_value(one)))
    return facts


def accuracy_view(report: Json) -> RenderableType:
    """How good a profile is, on networks that it was not fitted on, beside how well the measurement itself repeats."""
    table = _table(caption=f"{report['units_timed']:,} of {report['units_found']:,} blocks timed")
    table.add_column(
        f"{report['networks']:,} unseen networks, {report['fastest_ms']:.3g} to {report['slowest_ms']:.3g} ms"
    )
    table.add_column("predicted", justify="right")
    table.add_column("measured twice", justify="right")
    again = {
        "within_5": f"{report['repeatability_within_5']:.0%}",
        "mean_error": f"{report['repeatability_mean_error']:.2%}",
    }
    for name, label in (
        ("within_5", "within ±5 %"),
        ("within_10", "within ±10 %"),
        ("mean_error", "mean error"),
        ("p95_error", "95th percentile error"),
    ):
        value = report[name]
        table.add_row(label, f"{value:.0%}" if name.startswith("within") else f"{value:.2%}", again.get(name, ""))
    table.add_row("rank correlation (Spearman)", f"{report['spearman']:.3f}", "")
    return table


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def report_value(value: Any) -> str:
    """One value of a report as text: an estimate with its error and source, a number with five digits."""
    if isinstance(value, Mapping):
        return _mapping(value) or NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.5g}"
    if _is_list(value):
        return ", ".join(report_value(inner) for inner in value) or NOTHING
    return NOTHING if value is None else str(value)


def _mapping(value: Json) -> str:
    rest = {name: inner for name, inner in value.items() if name not in ("value", "error", "source")}
    others = ", ".join(f"{name.replace('_', ' ')} {report_value(inner)}" for name, inner in rest.items())
    if "value" not in value:
        return others
    error = f" ±{value['error']:.3g}" if value.get("error") else ""
    source = f" {value['source']}" if value.get("source") else ""
    return f"{report_value(value['value'])}{error}{source}" + (f", {others}" if others else "")


def when(iso: str) -> str:
    """A time of the API (UTC) as local time."""
    from datetime import datetime

    return datetime.fromisoformat(iso).astimezone().strftime("%Y-%m-%d %H:%M")


def _table(*, caption: str | None = None, padding: int = 1) -> Table:
    return Table(
        box=box.SIMPLE_HEAD,
        header_style="bold",
        pad_edge=False,
        padding=(0, padding),
        caption=caption,
        caption_justify="left",
    )
