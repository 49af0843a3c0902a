"""Profiling of a device from the command line, stored where the worker looks for it."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from sqlalchemy import make_url

from api.db import open_database
from api.profile_store import Profiles
from api.settings import Settings
from api.space_store import resolve
from latency_models.device import parse_device
from latency_models.profile import profile_device
from nas.admission import check_space, known
from nas.datasets import DATASETS
from search_spaces import Classification, Task, get_space
from search_spaces.architecture import check_task
from search_spaces.definition import SpaceReference, is_built_in, space_of


def known_space(settings: Settings, name: str) -> SpaceReference:
    """The built-in or stored space of a name. Raises: UnknownName; nothing is written then."""
    database_file = make_url(settings.url).database
    if is_built_in(name) or (settings.database_url is None and not Path(database_file or "").exists()):
        get_space(name)
        return name
    database = open_database(settings.url)
    try:
        with database.read() as session:
            return resolve(session, name)
    finally:
        database.close()


def profile_and_store(
    settings: Settings, device_name: str, reference: SpaceReference, dataset: str, *, seed: int, console: Console
) -> dict[str, Any]:
    """Measures the device for the space and the data set's task; the report of the stored profile.

    Raises: UnknownName, DeviceUnavailable, InvalidSpec (the task does not fit the space).
    """
    device = parse_device(device_name)
    known(dataset, DATASETS, "data set", "dataset")
    facts = DATASETS[dataset]
    task = Task(facts.input_shape, Classification(facts.classes))
    check_space(reference, task)
    space = space_of(reference)
    check_task(space, task)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task(f"profiling {device_name}", total=None)

        def on_progress(done: int, total: int) -> None:
            progress.update(bar, completed=done, total=total)

        profile = profile_device(device, space, task, seed=seed, on_progress=on_progress, should_stop=lambda: False)
    database = open_database(settings.url)
    try:
        Profiles(database, settings).put(profile)
    finally:
        database.close()
    return dict(profile.report)
