"""A bound on the tables of indices that attention by relative position writes out."""

from search_spaces.errors import InvalidGraph

PAIRS = 2**20
"""Pairs of a query and a key in one table, at most: 32 x 32 positions that all attend to each other."""


def check_pairs(queries: int, keys: int) -> None:
    """Raises InvalidGraph before a table is made whose size no device would take."""
    if queries * keys > PAIRS:
        raise InvalidGraph(
            f"attention of {queries:,} positions to {keys:,} lists more than {PAIRS:,} pairs",
            hint="place it after more strides",
        )
