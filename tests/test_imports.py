"""Who may import whom, proved in fresh processes: import-linter reads sources, this runs them."""

import json
import subprocess
import sys
import time

import pytest

HEAVY = {"torch", "ray", "optuna"}

LIGHT_MODULES = [
    "search_spaces",
    "search_spaces.blocks",
    "search_spaces.cost",
    "search_spaces.deploy",
    "search_spaces.fingerprint",
    "search_spaces.onnx_graph",
    "search_spaces.presets",
    "latency_models",
    "latency_models.device",
    "latency_models.estimate",
    "latency_models.kernels",
    "latency_models.profile",
    "nas",
    "nas.admission",
    "nas.datasets",
    "nas.exporters",
    "nas.front",
    "nas.ladder",
    "nas.objectives",
    "nas.pareto",
    "nas.proxies",
    "nas.runners",
    "nas.spec",
    "nas.strategies",
    "nas.trial",
    "api",
    "api.app",
    "api.cli",
    "api.client",
    "api.db",
    "api.errors",
    "api.models",
    "api.routes",
    "api.schemas",
    "api.serve",
    "api.settings",
    "api.store",
]

SQL_FREE_MODULES = ["search_spaces", "latency_models.profile", "nas.admission", "nas.search"]


def loaded_by(module: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after importing ``module``."""
    code = f"import json, sys, {module}; print(json.dumps(sorted({{n.partition('.')[0] for n in sys.modules}})))"
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"import {module} failed after {time.perf_counter() - begin:.2f} s:\n{done.stderr}"
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("module", LIGHT_MODULES)
def test_import_loads_nothing_heavy(module: str) -> None:
    begin = time.perf_counter()
    heavy = loaded_by(module) & HEAVY
    assert not heavy, f"import {module} ({time.perf_counter() - begin:.2f} s) loads {sorted(heavy)}"


@pytest.mark.parametrize("module", SQL_FREE_MODULES)
def test_only_api_knows_sql(module: str) -> None:
    assert not loaded_by(module) & {"sqlalchemy", "alembic", "fastapi"}


def test_heavy_imports_are_seen() -> None:
    assert "torch" in loaded_by("search_spaces.torch_network")
