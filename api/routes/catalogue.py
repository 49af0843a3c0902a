"""What a search can name beside its space: proxies, strategies, devices, data sets."""

from fastapi import APIRouter

from api import agent_store, store
from api.dependencies import ReadSession, SettingsOf
from api.models import Agent, DeviceProfile
from api.remote_timer import remote_names
from api.schemas import (
    DatasetOut,
    DeviceOut,
    PageOut,
    ProfileOut,
    ProxyOut,
    StrategyOut,
)
from latency_models.analytic import analytic_devices
from latency_models.catalogue import AnalyticDevice, load_catalogue
from latency_models.device import Device, DeviceStatus, is_local, local_devices, parse_device
from nas.datasets import DATASETS
from nas.scores import SCORES
from nas.strategies import STRATEGIES

router = APIRouter(prefix="/v1", tags=["catalogue"])


@router.get("/proxies")
def list_proxies() -> PageOut[ProxyOut]:
    """The scores that a search can name: single proxies, and ensembles of them."""
    items = [
        ProxyOut(name=name, description=facts.description, proxies=list(facts.proxies))
        for name, facts in SCORES.items()
    ]
    return PageOut(items=items, next_page_token=None)


@router.get("/strategies")
def list_strategies() -> PageOut[StrategyOut]:
    """The search strategies."""
    items = [StrategyOut(name=name, description=facts.description) for name, facts in STRATEGIES.items()]
    return PageOut(items=items, next_page_token=None)


@router.get("/datasets")
def list_datasets() -> PageOut[DatasetOut]:
    """The data sets."""
    items = [
        DatasetOut(name=name, description=facts.description, input_shape=list(facts.input_shape), classes=facts.classes)
        for name, facts in DATASETS.items()
    ]
    return PageOut(items=items, next_page_token=None)


@router.get("/devices")
def list_devices(session: ReadSession, settings: SettingsOf) -> PageOut[DeviceOut]:
    """The devices of this machine, every other device that has a profile, and the analytic ones with their facts."""
    profiles: dict[str, list[DeviceProfile]] = {}
    for row in store.list_profiles(session):
        profiles.setdefault(row.device, []).append(row)
    items = [_local(status, profiles.pop(status.device.name, [])) for status in local_devices()]
    for agent in agent_store.list_agents(session):
        also = [name for name in profiles if name.startswith(f"{agent.name}-")]
        names = dict.fromkeys([*remote_names(agent.name), *also])
        items += [_remote(agent, name, profiles.pop(name, [])) for name in names]
    items += [_profiled(name, rows) for name, rows in profiles.items()]
    items += [_analytic(*pair) for pair in analytic_devices(load_catalogue(settings.devices_file))]
    return PageOut(items=items, next_page_token=None)


def _local(status: DeviceStatus, rows: list[DeviceProfile]) -> DeviceOut:
    device = status.device
    return DeviceOut(
        name=device.name,
        runtime=device.runtime,
        precision=device.precision,
        threads=device.threads,
        batch_size=device.batch_size,
        local=True,
        available=status.available,
        install=status.install,
        profiles=[ProfileOut.model_validate(row) for row in rows],
    )


def _remote(agent: Agent, name: str, rows: list[DeviceProfile]) -> DeviceOut:
    """A device whose host is an agent; ``install`` is what starts the agent there."""
    device, connected = parse_device(name), agent_store.is_connected(agent)
    return DeviceOut(
        name=name,
        runtime=device.runtime,
        precision=device.precision,
        threads=device.threads,
        batch_size=device.batch_size,
        local=False,
        available=connected,
        install="" if connected else agent_store.start_command(agent.name),
        profiles=[ProfileOut.model_validate(row) for row in rows],
    )


def _profiled(name: str, rows: list[DeviceProfile]) -> DeviceOut:
    """A device that is known by its profiles, such as a local one with another batch size."""
    local = is_local(name)
    device = parse_device(name) if local else None
    return DeviceOut(
        name=name,
        runtime=device.runtime if device else None,
        precision=device.precision if device else None,
        threads=device.threads if device else None,
        batch_size=device.batch_size if device else None,
        local=local,
        available=True,
        install="",
        profiles=[ProfileOut.model_validate(row) for row in rows],
    )


def _analytic(device: Device, facts: AnalyticDevice) -> DeviceOut:
    """A device that nobody can attach, in one precision."""
    return DeviceOut(
        name=device.name,
        kind="analytic",
        runtime=device.runtime,
        precision=device.precision,
        threads=None,
        batch_size=device.batch_size,
        local=False,
        available=True,
        install="",
        profiles=[],
        # an error that nobody knows is a fact too
        facts={**facts.model_dump(mode="json", exclude_none=True), "relative_error": facts.relative_error},
    )
