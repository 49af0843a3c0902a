"""Zero-shot scores: one figure from the proxies of many networks. Pure functions of the raw values."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nas.proxies import PROXIES
from search_spaces.errors import UnknownName, nearest


class ScoreFacts(NamedTuple):
    """A score is the geometric mean of the ranks by its ``proxies``: a network that is among the last by one of them
    is no good, whatever the others say. Source: Lee and Ham 2024, arXiv:2403.19232, equation 9.

    ``partial``: whether it is as good without those of its proxies that a space's networks cannot have.
    """

    description: str
    proxies: tuple[str, ...]
    partial: bool = False


SCORES: Mapping[str, ScoreFacts] = {
    "default": ScoreFacts(
        "AZ-NAS with what the channels of layers and the patterns of units say",
        ("expressivity", "progressivity", "trainability", "macs", "intrain", "meco", "swap"),
        partial=True,
    ),
    "az_nas": ScoreFacts("AZ-NAS", ("expressivity", "progressivity", "trainability", "macs")),
    "vkdnw_aggregate": ScoreFacts("VKDNW, aggregated", ("vkdnw", "jacov", "expressivity", "trainability", "macs")),
    **{name: ScoreFacts(f"rank by {facts.description}", (name,)) for name, facts in PROXIES.items()},
}
"""Every score by name: ensembles, and each proxy alone."""


def get_score_facts(name: str) -> ScoreFacts:
    """The facts of a score. Raises: UnknownName with the nearest known name."""
    if name not in SCORES:
        raise UnknownName(f"unknown score {name!r}", hint=nearest(name, list(SCORES)), field="score")
    return SCORES[name]


def score_values(score: str, proxies: Sequence[Mapping[str, float | None]]) -> NDArray[np.float64]:
    """(n,) in (0, 1], higher is better: the geometric mean over the score's proxies of rank / n.

    ``proxies``: raw values of each network; one that is missing, None or not finite ranks last.
    Raises: UnknownName.
    """
    return aggregate(get_score_facts(score).proxies, proxies)


def aggregate(names: Sequence[str], proxies: Sequence[Mapping[str, float | None]]) -> NDArray[np.float64]:
    """``score_values`` of the proxies of these names; all alike where there is no name."""
    if not names:
        return np.ones(len(proxies))
    columns = [ranks([values.get(name) for values in proxies]) for name in names]
    values: NDArray[np.float64] = np.exp(np.mean(np.log(columns), axis=0)) / max(1, len(proxies))
    return values


def default_score(proxies: Sequence[Mapping[str, float | None]]) -> NDArray[np.float64]:
    """(n,) in (0, 1]: the score of a search that names none, ``score_values("default", proxies)``."""
    return score_values("default", proxies)


def ranks(values: Sequence[float | None]) -> NDArray[np.float64]:
    """(n,) from 1 for the lowest; equal values share their mean rank; None, nan and infinities are equal and lowest."""
    given = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    given[~np.isfinite(given)] = -np.inf
    _, place, counts = np.unique(given, return_inverse=True, return_counts=True)
    mean_rank: NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return mean_rank
