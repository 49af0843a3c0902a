"""Who may import whom, proved in fresh processes: import-linter reads sources, this runs them."""

import json
import subprocess
import sys
from typing import NamedTuple

import pytest

HEAVY = {"torch", "ray", "optuna"}
SQL = {"sqlalchemy", "alembic", "fastapi"}

LIGHT_MODULES = [
    "search_spaces",
    "search_spaces.cost",
    "search_spaces.definition",
    "search_spaces.definition_check",
    "search_spaces.definition_text",
    "search_spaces.network_summary",
    "search_spaces.deploy",
    "search_spaces.onnx_graph",
    "latency_models",
    "latency_models.device",
    "latency_models.measure",
    "latency_models.analysis",
    "latency_models.profile",
    "nas",
    "nas.pareto",
    "nas.spec",
    "nas.admission",
    "nas.exporters",
    "nas.front",
    "nas.ladder",
    "nas.proxies",
    "nas.runners",
    "nas.strategies",
    "nas.search",
    "api",
    "api.settings",
    "api.store",
    "api.app",
    "api.serve",
    "api.client",
    "api.cli",
]
"""In the order in which they are imported; what these import is light too."""

CODE = """
import importlib, json, sys, time
steps = []
for module in sys.argv[1:]:
    before, begin = set(sys.modules), time.perf_counter()
    importlib.import_module(module)
    steps.append([module, time.perf_counter() - begin, sorted(set(sys.modules) - before)])
print(json.dumps(steps))
"""


class Step(NamedTuple):
    """One import: how long it took, and the top-level names that it added."""

    seconds: float
    added: set[str]


def import_in_turn(*modules: str) -> dict[str, Step]:
    """What each import adds to one fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, *modules], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    steps = json.loads(done.stdout)
    return {module: Step(seconds, {name.partition(".")[0] for name in added}) for module, seconds, added in steps}


@pytest.fixture(scope="module")
def steps() -> dict[str, Step]:
    return import_in_turn(*LIGHT_MODULES)


@pytest.mark.parametrize("module", LIGHT_MODULES)
def test_import_loads_nothing_heavy(module: str, steps: dict[str, Step]) -> None:
    heavy = steps[module].added & HEAVY
    assert not heavy, f"import {module} ({steps[module].seconds:.2f} s) loads {sorted(heavy)}"


@pytest.mark.parametrize("module", [module for module in LIGHT_MODULES if not module.startswith("api")])
def test_only_api_knows_sql(module: str, steps: dict[str, Step]) -> None:
    assert not steps[module].added & SQL


def test_what_is_heavy_would_be_seen() -> None:
    assert (
        "torch" in import_in_turn("search_spaces", "search_spaces.torch_network")["search_spaces.torch_network"].added
    )
    assert import_in_turn("nas.spec", "api.store")["api.store"].added >= {"sqlalchemy"}
