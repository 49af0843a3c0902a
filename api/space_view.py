"""Spaces, their networks and their blocks as rich renderables."""

from inspect import getdoc
from math import log10

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from api.figures import NOTHING, space_size
from search_spaces import BLOCKS, SPACES, SearchSpace
from search_spaces.graph import Shape
from search_spaces.network_summary import NetworkSummary
from search_spaces.parameters import SET_BY_STAGE, arguments, block_parameters


def network_view(space: SearchSpace, found: NetworkSummary) -> RenderableType:
    """A network of a space: what it is, one row for each item, and what it costs as a whole."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    size = space_size(space.size, log10(space.size))
    facts.add_row("space", Text(f"{found.space}: {size} architectures, {len(space.choices)} choices"))
    base = space.name.partition("[")[0]
    if base in SPACES:
        facts.add_row("", Text(SPACES[base].description, style="dim"))
    facts.add_row("network", Text(found.architecture))
    facts.add_row("input", Text(f"{shape_text(found.input)}, {found.classes:,} classes"))
    table = _table("name", "block", "output", "params", "MACs", right=("output", "params", "MACs"))
    for item in found.items:
        macs = item.macs + item.matmul_macs
        table.add_row(item.name, item.block or NOTHING, shape_text(item.output), f"{item.params:,}", f"{macs:,}")
    totals = Table.grid(padding=(0, 2))
    totals.add_column(style="dim", no_wrap=True)
    totals.add_column(justify="right")
    totals.add_row("params", f"{found.params:,}")
    totals.add_row("MACs", f"{found.macs:,}")
    if found.matmul_macs:
        totals.add_row("MACs between activations", f"{found.matmul_macs:,}")
    totals.add_row("peak memory (float32)", f"{found.peak_memory_bytes:,} bytes")
    totals.add_row("weights (float32, deployed)", f"{found.weight_bytes:,} bytes")
    return Group(facts, table, totals)


def blocks_table() -> Table:
    """Every block with its parameters, in bold those that have no default."""
    table = _table("block", "parameters", "paper")
    for name, block in BLOCKS.items():
        words = Text()
        for parameter, found in block_parameters(name).items():
            words.append(f"{parameter} ", style="bold" if found.required else "")
        table.add_row(Text(name), words, Text(block.paper, style="dim"))
    return table


def block_view(name: str) -> RenderableType:
    """A block: what it is, and what each of its parameters may be."""
    table = _table("parameter", "default", "what it may be")
    for parameter, found in block_parameters(name).items():
        default = "required" if found.required else _value(found.default)
        table.add_row(parameter, Text(default), Text(found.domain.allowed))
    takes = [{"out_channels": "channels"}.get(word, word) for word in SET_BY_STAGE if word in arguments(name)]
    stage = Text(f"the stage sets: {', '.join(takes) or 'nothing'}", style="dim")
    paragraphs = (getdoc(BLOCKS[name].function) or "").replace("``", "").split("\n\n")
    told = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    return Group(Text(name, style="bold"), Text(told), stage, table)


def _value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def shape_text(shape: Shape) -> str:
    """A shape as ``3x224x224``."""
    return "x".join(map(str, shape))


def _table(*names: str, right: tuple[str, ...] = ()) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for name in names:
        fixed = name in ("name", "block", "parameter")
        table.add_column(name, justify="right" if name in right else "left", no_wrap=fixed)
    return table
