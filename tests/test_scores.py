"""Scores: ranks with ties and gaps, by hand and against a brute-force count."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support_graphs import TASK

from nas.admission import check_score
from nas.proxies import PROXIES
from nas.proxies.nodes import HAS
from nas.scores import SCORES, default_score, get_score_facts, ranks, score_values
from search_spaces import SPACES, get_space
from search_spaces.errors import InvalidSpec, UnknownName


def test_ranks_share_ties_and_put_gaps_last() -> None:
    assert ranks([3.0, 1.0, 3.0, None, math.nan, math.inf, 2.0]).tolist() == [6.5, 4, 6.5, 2, 2, 2, 5]


@given(st.lists(st.one_of(st.none(), st.integers(-3, 3).map(float), st.just(math.nan)), max_size=30))
def test_ranks_equal_a_count_of_pairs(values: list[float | None]) -> None:
    keys = [-math.inf if v is None or not math.isfinite(v) else v for v in values]
    expected = [sum(k < key for k in keys) + (1 + keys.count(key)) / 2 for key in keys]
    assert ranks(values).tolist() == expected


def test_an_ensemble_is_the_geometric_mean_of_ranks() -> None:
    networks = [
        {"expressivity": 10.0, "progressivity": 5.0, "trainability": -3.0, "macs": 300.0},
        {"expressivity": 20.0, "progressivity": None, "trainability": -2.0, "macs": 200.0},
        {"expressivity": 30.0, "progressivity": 7.0, "trainability": -1.0, "macs": 100.0},
    ]
    ranks_of = [(1, 2, 1, 3), (2, 1, 2, 2), (3, 3, 3, 1)]
    assert score_values("az_nas", networks) == pytest.approx([math.prod(r) ** (1 / 4) / 3 for r in ranks_of])


def test_the_default_score_is_the_score_of_that_name() -> None:
    rng = np.random.default_rng(0)
    networks = [{name: float(rng.normal()) for name in SCORES["default"].proxies} for _ in range(9)]
    assert default_score(networks).tolist() == score_values("default", networks).tolist()


def test_a_missing_proxy_ranks_with_none() -> None:
    assert score_values("snip", [{"snip": 1.0}, {}, {"snip": None}]) == pytest.approx([1.0, 0.5, 0.5])


@pytest.mark.parametrize("score", list(SCORES))
def test_every_score_is_in_range_and_rises_with_its_proxies(score: str) -> None:
    names = get_score_facts(score).proxies
    assert set(names) <= set(PROXIES)
    rng = np.random.default_rng(0)
    networks = [{name: float(i) for name in names} for i in rng.permutation(20)]
    values = score_values(score, networks)
    assert (values > 0).all()
    assert values.max() == pytest.approx(1)
    assert (np.argsort(values) == np.argsort([network[names[0]] for network in networks])).all()


def test_every_proxy_is_a_score_and_nothing_scores_nothing() -> None:
    assert set(PROXIES) | {"default", "az_nas", "vkdnw_aggregate"} == set(SCORES)
    assert score_values("default", []).shape == (0,)


def test_unknown_score_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="synflow") as raised:
        score_values("sinflow", [])
    assert raised.value.field == "score"


def test_a_score_whose_need_is_missing_is_refused() -> None:
    assert set(HAS) == {need for facts in PROXIES.values() for need in facts.needs}
    with pytest.raises(InvalidSpec, match=r"w_pca needs blocks of two layers.*mobilenet_v2") as caught:
        check_score("w_pca", get_space("mobilenet_v2"), TASK)
    assert caught.value.field == "score"
    assert "synflow" in caught.value.hint
    check_score("w_pca", get_space("metaformer"), TASK)


@pytest.mark.parametrize("name", SPACES)
def test_every_space_can_have_the_default_score(name: str) -> None:
    check_score("default", get_space(name), TASK)
