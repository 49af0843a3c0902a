"""Profiling of a device from the command line, stored where the worker looks for it."""

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from api.db import open_database
from api.profile_store import Profiles
from api.settings import Settings
from latency_models.device import parse_device
from latency_models.profile import profile_device
from nas.admission import known
from nas.datasets import DATASETS
from search_spaces import Classification, Task, get_space


def profile_and_store(
    settings: Settings, device_name: str, space_name: str, dataset: str, *, seed: int, console: Console
) -> dict[str, Any]:
    """Measures the device for the space and the data set's task; the report of the stored profile.

    Raises: UnknownName, DeviceUnavailable, InvalidSpec (the task does not fit the space).
    """
    device = parse_device(device_name)
    space = get_space(space_name)
    known(dataset, DATASETS, "data set", "dataset")
    facts = DATASETS[dataset]
    task = Task(facts.input_shape, Classification(facts.classes))
    space.check_task(task)
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
