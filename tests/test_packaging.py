"""pyproject.toml, constraints.txt and the folders agree."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES: list[str] = PROJECT["tool"]["setuptools"]["packages"]
TOP_LEVEL = sorted({package.partition(".")[0] for package in PACKAGES})
REQUIRED = {"optuna", "torch", "ray", "fastapi", "sqlalchemy", "pydantic", "uvicorn"}


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def requirements() -> list[Requirement]:
    extras: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
    return [Requirement(text) for texts in [PROJECT["project"]["dependencies"], *extras.values()] for text in texts]


def test_package_list_is_the_folders_with_sources() -> None:
    folders = {path.parent.relative_to(ROOT) for name in TOP_LEVEL for path in (ROOT / name).rglob("*.py")}
    assert sorted(PACKAGES) == sorted(".".join(folder.parts) for folder in folders)


def test_every_other_file_of_a_package_is_installed() -> None:
    data = PROJECT["tool"]["setuptools"]["package-data"]
    covered = {
        path
        for package, patterns in data.items()
        for pattern in patterns
        for path in (ROOT / package.replace(".", "/")).glob(pattern)
    }
    files = {
        path
        for name in TOP_LEVEL
        for path in (ROOT / name).rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"}
    }
    assert files, "the pages and their styles are files of a package"
    assert not sorted(str(path.relative_to(ROOT)) for path in files - covered)


@pytest.mark.parametrize("package", TOP_LEVEL)
def test_package_imports_from_any_folder(package: str, tmp_path: Path) -> None:
    code = f"import {package}; print({package}.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(ROOT), "another package of that name comes first"


def test_dependencies_name_what_the_service_is_built_on() -> None:
    named = {Requirement(text).name for text in PROJECT["project"]["dependencies"]}
    assert named >= REQUIRED


@pytest.mark.parametrize("requirement", requirements(), ids=lambda requirement: requirement.name)
def test_dependency_is_pinned_once_and_within_its_bound(requirement: Requirement) -> None:
    version = pins()[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(version)


def test_constraints_hold_one_exact_public_version_a_line() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9A-Za-z.]+", line)] == []
    assert len(pins()) == len(lines)


def test_command_starts_the_command_line_of_api() -> None:
    (command,) = entry_points(group="console_scripts", name="hwnas")
    assert command.value == "api.cli:app"
    assert callable(command.load())
