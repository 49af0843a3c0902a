"""Strategies: who proposes the next architectures. Ask and tell, pure given the history."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

from nas.looks import Look
from nas.objectives import Goal
from nas.strategies.ask_tell import AskTell
from nas.strategies.drawing import REPEATED, Feasible
from nas.strategies.proposals import History, Proposal, Proposer, ScoredTrial, Strategy
from search_spaces.architecture import Architecture, SearchSpace
from search_spaces.errors import UnknownName, nearest
from search_spaces.task import Task

__all__ = [
    "REPEATED",
    "STRATEGIES",
    "Feasible",
    "History",
    "Proposal",
    "Proposer",
    "ScoredTrial",
    "Strategy",
    "StrategyFacts",
    "make_strategy",
]

MAX_DRAWS = 10_000
"""Draws in vain for one proposal before an ask gives up."""


class StrategyFacts(NamedTuple):
    """``path`` names the proposer, which gets ``options``.

    ``repairs`` is the number of mutations tried in a row on a proposal that is rejected. ``learns``: whether it
    proposes other networks when some have trained, so that a search explores again after each wave.
    """

    description: str
    paper: str
    path: str
    options: Mapping[str, Any] = {}
    repairs: int = 8
    learns: bool = False


STRATEGIES: Mapping[str, StrategyFacts] = {
    "default": StrategyFacts(
        "evolution by the score, then, after each wave, what its surrogate expects to add most to the front",
        "Real et al. 2019, arXiv:1802.01548",
        "nas.strategies.learned:learned",
        options={"population": 500, "crossover": 0.5, "spread": True},
        learns=True,
    ),
    "random": StrategyFacts(
        "independent uniform draws",
        "Li and Talwalkar 2019, arXiv:1902.07638",
        "nas.strategies.random_search:random_search",
        repairs=0,
    ),
    "regularized_evolution": StrategyFacts(
        "mutations of tournament winners among the latest trials",
        "Real et al. 2019, arXiv:1802.01548",
        "nas.strategies.evolution:regularized_evolution",
    ),
    "nsga2": StrategyFacts(
        "generations of crossover and mutation",
        "Deb et al. 2002, doi:10.1109/4235.996017",
        "nas.strategies.generations:nsga2",
    ),
    "nsga3": StrategyFacts(
        "generations whose elite is spread along reference directions",
        "Deb and Jain 2014, doi:10.1109/TEVC.2013.2281535",
        "nas.strategies.generations:nsga3",
    ),
    "tpe": StrategyFacts(
        "options that are more frequent among the better trials (Optuna's multi-objective TPE)",
        "Ozaki et al. 2022, doi:10.1613/jair.1.13188",
        "nas.strategies.optuna_samplers:tpe",
    ),
    "gp": StrategyFacts(
        "what Gaussian processes expect to add most hypervolume (Optuna's GPSampler)",
        "Emmerich et al. 2011, doi:10.1109/CEC.2011.5949880",
        "nas.strategies.optuna_samplers:gp",
    ),
    "controller": StrategyFacts(
        "a recurrent network that is rewarded for what its choices came to, for a trade-off drawn each time",
        "Zoph and Le 2017, arXiv:1611.01578",
        "nas.strategies.controller:controller",
    ),
    "mathematical_programming": StrategyFacts(
        "the greatest entropy within bounds on MACs, parameters and depth by width, whatever the score",
        "Shen et al. 2023, arXiv:2303.02165",
        "nas.strategies.mathematical_programming:mathematical_programming",
    ),
    "gradient": StrategyFacts(
        "descents over relaxed choices by what the trials say of quality and cost, for a trade-off drawn each time",
        "Wu et al. 2019, arXiv:1812.03443",
        "nas.strategies.gradient:gradient",
    ),
    "local_search": StrategyFacts(
        "one change to a network of the front so far",
        "White et al. 2021, arXiv:2005.02960",
        "nas.strategies.local_search:local_search",
    ),
}
"""Every strategy by name."""


def make_strategy(
    name: str,
    *,
    space: SearchSpace,
    feasible: Feasible,
    goals: Sequence[Goal],
    score: str = "default",
    seed: int = 0,
    max_draws: int = MAX_DRAWS,
    look: Callable[[Architecture], Look] | None = None,
    task: Task | None = None,
    **options: Any,
) -> Strategy:
    """The strategy of that name, without history.

    ``feasible`` returns None or the text of the bound that rejects an architecture, and is pure.
    ``goals`` are those of the objectives, in the order of a trial's values. ``look`` tells what is known of any
    architecture; without it none learns from what has trained. ``task`` is what the networks are for. ``options`` go to
    the proposer (``population=50``), over those of its facts. Raises: UnknownName with the nearest known name.
    """
    if name not in STRATEGIES:
        raise UnknownName(f"unknown strategy {name!r}", hint=nearest(name, list(STRATEGIES)), field="strategy")
    facts = STRATEGIES[name]
    module, _, attribute = facts.path.partition(":")
    propose: Proposer = getattr(import_module(module), attribute)
    return AskTell(
        partial(propose, **{**facts.options, **options}),
        space=space,
        feasible=feasible,
        goals=goals,
        score=score,
        seed=seed,
        max_draws=max_draws,
        repairs=facts.repairs,
        look=look,
        task=task,
    )
