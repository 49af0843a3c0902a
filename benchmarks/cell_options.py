"""Options that the benchmarks on NAS-Bench-201 share."""

from __future__ import annotations

import argparse
import os
from collections.abc import Collection
from pathlib import Path

import numpy as np


def add_value_options(parser: argparse.ArgumentParser) -> None:
    """Where zero-shot values are computed and kept, and how results are printed."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--cache", type=Path, default=home / "hwnas" / "cell_values", metavar="DIR")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def add_table_options(parser: argparse.ArgumentParser) -> None:
    """The table, and which of its accuracies."""
    parser.add_argument("--data", type=Path, required=True, metavar="FILE")
    parser.add_argument("--accuracy", default="cifar10_test_accuracy", metavar="ARRAY")
    add_value_options(parser)


def check_table_options(parser: argparse.ArgumentParser, options: argparse.Namespace, **least: int) -> None:
    """Ends the program where an option is less than its least, or the table has no such accuracy."""
    for name, value in (*least.items(), ("workers", 1)):
        if getattr(options, name) < value:
            parser.error(f"--{name} {getattr(options, name)}: at least {value}")
    with np.load(options.data, allow_pickle=False) as table:
        if options.accuracy not in table.files:
            parser.error(f"--accuracy {options.accuracy}: the file has {', '.join(table.files)}")


def names(parser: argparse.ArgumentParser, what: str, text: str, known: Collection[str] | None = None) -> list[str]:
    """Names between commas; ends the program at an unknown one."""
    found = [name.strip() for name in text.split(",") if name.strip()]
    if known is not None and (unknown := [name for name in found if name not in known]):
        parser.error(f"unknown {what} {unknown[0]!r}; known: {', '.join(known)}")
    return found


def counts(parser: argparse.ArgumentParser, option: str, text: str, least: int) -> list[int]:
    """Rising whole numbers between commas, none where the text is empty; ends the program at anything else."""
    try:
        found = sorted({int(count) for count in text.split(",") if count.strip()})
    except ValueError:
        parser.error(f"{option} {text}: whole numbers between commas, as 32,100")
    if found and found[0] < least:
        parser.error(f"{option} {found[0]}: at least {least}")
    return found
