"""What a search can name beside its space: proxies, strategies, devices, data sets."""

from fastapi import APIRouter

from api import store
from api.dependencies import ReadSession
from api.models import DeviceProfile
from api.schemas import (
    DatasetOut,
    DeviceOut,
    PageOut,
    ProfileOut,
    ProxyOut,
    StrategyOut,
)
from latency_models.device import DeviceStatus, is_local, local_devices, parse_device
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
def list_devices(session: ReadSession) -> PageOut[DeviceOut]:
    """The devices of this machine, and every other device that has a profile."""
    profiles: dict[str, list[DeviceProfile]] = {}
    for row in store.list_profiles(session):
        profiles.setdefault(row.device, []).append(row)
    items = [_local(status, profiles.pop(status.device.name, [])) for status in local_devices()]
    items += [_profiled(name, rows) for name, rows in profiles.items()]
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
