"""Stored profiles: whole or not at all, and only for the machine that they were made on."""

import errno
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support_service import make_settings

from api import profile_store
from api.db import Database, open_database
from api.profile_store import Profiles
from api.settings import Settings
from latency_models.device import parse_device
from latency_models.measure import LocalTimer
from latency_models.predictors.composition import LEAST_NETWORKS, compose
from latency_models.predictors.table import UnitRecord
from latency_models.profile import Profile
from search_spaces import Classification, Task
from search_spaces.errors import DeviceUnavailable, StorageFull

DEVICE = "local-onnxruntime"
TASK = Task((3, 8, 8), Classification(10))
ASKED = (DEVICE, "two_kinds", TASK)


def made_up() -> Profile:
    """A profile of two units, as it would be on this machine."""
    units = {
        key: UnitRecord(key, ms, 0.01 * ms, 1, ("conv",), {"macs:conv": 1e6 * ms})
        for key, ms in (("small", 1.0), ("large", 4.0))
    }
    networks = [["small"] * (1 + i % 3) + ["large"] * (1 + i % 4) for i in range(LEAST_NETWORKS)]
    composition, _ = compose(networks, [sum(units[k].ms for k in network) for network in networks], units)
    device = parse_device(DEVICE)
    machine = LocalTimer(device).machine()
    return Profile(
        device=device,
        space="two_kinds",
        task=TASK,
        seed=0,
        runtime_version=machine.runtime_version,
        cpu=machine.cpu,
        reference_ms=(1.0,),
        units=tuple(units.values()),
        networks=(),
        composition=composition,
        report={"networks": 10},
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_settings(tmp_path)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = open_database(settings.url)
    yield database
    database.close()


def test_a_profile_comes_back_as_it_was_stored(database: Database, settings: Settings) -> None:
    profiles, profile = Profiles(database, settings), made_up()
    assert profiles.get(*ASKED) is None
    profiles.put(profile)
    assert profiles.get(*ASKED) == profile
    assert profiles.stale(*ASKED) is None


@pytest.mark.parametrize(
    ("changed", "told"),
    [({"runtime_version": "0.1"}, "onnxruntime version 0.1"), ({"cpu": "a Z80"}, "CPU a Z80")],
)
def test_a_profile_of_another_machine_is_not_used(
    database: Database, settings: Settings, changed: dict[str, Any], told: str
) -> None:
    profiles = Profiles(database, settings)
    profiles.put(replace(made_up(), **changed))
    assert profiles.get(*ASKED) is None
    assert told in str(profiles.stale(*ASKED))
    # who only predicts may run elsewhere
    assert Profiles(database, settings, check_machine=False).get(*ASKED) is not None


def test_a_changed_file_is_not_used(database: Database, settings: Settings) -> None:
    profiles = Profiles(database, settings)
    profiles.put(made_up())
    (path,) = settings.profile_dir.iterdir()
    path.write_bytes(path.read_bytes().replace(b"4.0", b"5.0"))
    assert profiles.get(*ASKED) is None
    assert "is not the file that was written" in str(profiles.stale(*ASKED))


def test_a_full_disk_leaves_the_profile_before(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sync(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    profiles, profile = Profiles(database, settings), made_up()
    profiles.put(profile)
    before = sorted(settings.profile_dir.iterdir())
    with monkeypatch.context() as full:
        full.setattr(profile_store.os, "fsync", sync)  # where a file system says so that allocates late
        with pytest.raises(StorageFull, match=f"no space left for the profile of {DEVICE}"):
            profiles.put(replace(profile, seed=1))
    assert sorted(settings.profile_dir.iterdir()) == before
    assert profiles.get(*ASKED) == profile


def test_timings_are_kept_by_device_and_machine(database: Database, settings: Settings) -> None:
    profiles = Profiles(database, settings)
    first = profiles.kernels(profiles.timer(DEVICE)).path
    assert first == profiles.kernels(profiles.timer(DEVICE)).path
    assert first != profiles.kernels(profiles.timer(f"{DEVICE}-b4")).path
    with pytest.raises(DeviceUnavailable, match="there is no agent 'pi4'"):
        profiles.timer("pi4-onnxruntime")
