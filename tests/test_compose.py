"""docker-compose.yml and Dockerfile name only what exists."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import make_url

from api.settings import Settings

ROOT = Path(__file__).parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
OURS = ("api", "worker", "ray-head")


def instructions(name: str) -> list[str]:
    return [line.partition(" ")[2].strip() for line in DOCKERFILE if line.startswith(f"{name} ")]


def words(command: list[str] | str) -> str:
    return command if isinstance(command, str) else " ".join(command)


def named_modules(command: str) -> list[str]:
    """Modules started as ``python -m NAME``, and the packages of other programs that we call.

    Not their submodules: to find one imports the package, and Ray must not be imported before its settings are made.
    """
    programs = ["ray"] if re.search(r"\bray (start|health-check)\b", command) else []
    return [*re.findall(r"python -m ([\w.]+)", command), *programs]


def settings_variables() -> set[str]:
    return {f"HWNAS_{name.upper()}" for name in Settings.model_fields}


def test_services() -> None:
    assert set(SERVICES) == {"api", "worker", "postgres", "ray-head"}


@pytest.mark.parametrize("name", OURS)
def test_variables_are_settings(name: str) -> None:
    variables = {key for key in SERVICES[name]["environment"] if key.startswith("HWNAS_")}
    assert {"HWNAS_DATABASE_URL", "HWNAS_DATA_DIR", "HWNAS_RAY_ADDRESS"} <= variables <= settings_variables()


def test_dockerfile_variables_are_settings() -> None:
    variables = {word for line in instructions("ENV") for word in re.findall(r"\b(HWNAS_\w+)=", line)}
    assert variables
    assert variables <= settings_variables()


@pytest.mark.parametrize("name", OURS)
def test_settings_take_the_values(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in SERVICES[name]["environment"].items():
        monkeypatch.setenv(key, str(value))
    settings = Settings()
    assert settings.database_url == SERVICES[name]["environment"]["HWNAS_DATABASE_URL"]
    assert settings.data_dir == Path("/data")


@pytest.mark.parametrize("name", OURS)
def test_command_names_modules_that_exist(name: str) -> None:
    modules = named_modules(words(SERVICES[name]["command"]))
    assert modules
    assert [module for module in modules if importlib.util.find_spec(module) is None] == []


def test_image_starts_a_module_that_exists() -> None:
    (command,) = [line for line in instructions("CMD") if not line.startswith("HEALTH")]
    (module,) = named_modules(words(json.loads(command)))
    assert importlib.util.find_spec(module) is not None


def test_copied_files_exist() -> None:
    sources = [source for line in instructions("COPY") for source in line.split()[:-1]]
    assert {"pyproject.toml", "constraints.txt", "api"} <= set(sources)
    assert [source for source in sources if not (ROOT / source).exists()] == []


def test_copied_files_are_not_ignored() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {source for line in instructions("COPY") for source in line.split()[:-1]} == kept


@pytest.mark.parametrize("image", [SERVICES["postgres"]["image"], SERVICES["api"]["image"], *instructions("FROM")])
def test_image_is_pinned_by_version(image: str) -> None:
    assert re.search(r":\d+\.\d+", image), f"{image} names no version"


def test_database_address() -> None:
    url = make_url(SERVICES["api"]["environment"]["HWNAS_DATABASE_URL"])
    database = SERVICES["postgres"]["environment"]
    assert url.get_backend_name() == "postgresql"
    assert url.host in SERVICES
    assert url.port == 5432
    assert (url.username, url.database) == (database["POSTGRES_USER"], database["POSTGRES_DB"])
    # the driver is in the image: the extra that the Dockerfile installs
    assert "postgres" in "".join(re.findall(r'"\.\[(.*?)\]"', "\n".join(instructions("RUN")))).split(",")


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_service_says_how_it_is(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    for other, wait in SERVICES[name].get("depends_on", {}).items():
        assert wait == {"condition": "service_healthy"}
        assert other in SERVICES


def test_volumes_are_declared() -> None:
    used = {volume.partition(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert used == set(COMPOSE["volumes"])


def test_ports_of_ray_agree() -> None:
    address = SERVICES["worker"]["environment"]["HWNAS_RAY_ADDRESS"]
    host, _, port = address.partition(":")
    assert host in SERVICES
    assert f"--port={port}" in SERVICES[host]["command"]


def test_image_does_not_run_as_root() -> None:
    assert instructions("USER") == ["hwnas"]
