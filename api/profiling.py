"""Profiling of a device from the command line, stored where the worker looks for it."""

import signal
import threading
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from sqlalchemy import make_url

from api.db import open_database
from api.profile_store import Profiles
from api.settings import Settings
from api.space_store import resolve
from latency_models.analytic import analytic_predictor
from latency_models.device import parse_device
from latency_models.kernel_store import KernelStore
from latency_models.profile import Profile, profile_device
from latency_models.timing import Timer
from nas.admission import check_space
from nas.datasets import get_dataset_facts
from search_spaces import Classification, SearchSpace, Task, get_space
from search_spaces.architecture import check_task
from search_spaces.definition import SpaceReference, is_built_in, space_of
from search_spaces.errors import DeviceUnavailable, InvalidSpec

DEFAULT_DATASET = "digits"


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


def task_for(dataset: str | None, shape: tuple[int, int, int] | None, classes: int) -> Task:
    """The task of a data set, or of an input shape. Raises: UnknownName, InvalidSpec."""
    if shape is not None:
        if dataset is not None:
            raise InvalidSpec("give either --dataset or --input", hint="both say what the input is")
        return Task(shape, Classification(classes))
    return get_dataset_facts(dataset or DEFAULT_DATASET).task


def profile_and_store(
    settings: Settings,
    device: str,
    reference: SpaceReference,
    task: Task,
    *,
    seed: int,
    minutes: float,
    console: Console,
) -> Profile:
    """Measures a device for a space and task, and stores the profile; what was timed before is not timed again.

    Raises: UnknownName, DeviceUnavailable, InvalidSpec (the task does not fit the space), MeasuringStopped (Ctrl-C),
    StorageFull; the profile that was stored before is then still there.
    """
    if analytic_predictor(device, settings.devices_file) is not None:
        raise DeviceUnavailable(
            f"{device} is an analytic device: its figures follow from its facts, there is nothing to measure",
            hint="searches and hwnas estimate can name it as it is",
            field="device",
        )
    parse_device(device)  # before there is a database
    check_space(reference, task)
    space = space_of(reference)
    check_task(space, task)
    database = open_database(settings.url)
    try:
        profiles = Profiles(database, settings)
        timer = profiles.timer(device)
        machine = timer.machine()
        console.print(
            f"{device}: {machine.cpu}, {timer.device.runtime} {machine.runtime_version}", markup=False, soft_wrap=True
        )
        if (stale := profiles.stale(device, space.name, task)) is not None:
            console.print(f"{stale}: measuring again", markup=False, soft_wrap=True)
        store = profiles.kernels(timer)
        kept = len(store)
        if kept:
            console.print(f"{kept:,} timings of this device are kept from before: none is taken again", markup=False)
        profile = _measure(timer, space, task, store, seed, minutes, console)
        console.print(f"{len(store) - kept:,} timings taken now", markup=False)
        profiles.put(profile)
    finally:
        database.close()
    return profile


def _measure(
    timer: Timer, space: SearchSpace, task: Task, store: KernelStore, seed: int, minutes: float, console: Console
) -> Profile:
    asked_to_stop = threading.Event()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("s"))
    before = signal.signal(signal.SIGINT, lambda *_: asked_to_stop.set())
    try:
        with Progress(*columns, TimeRemainingColumn(), TextColumn("left"), console=console) as progress:
            bar = progress.add_task(f"timing {space.name} on {timer.device.name}", total=60 * minutes)
            return profile_device(
                timer,
                space,
                task,
                store=store,
                seed=seed,
                minutes=minutes,
                on_progress=lambda done, total: progress.update(bar, completed=done, total=total),
                should_stop=asked_to_stop.is_set,
            )
    finally:
        signal.signal(signal.SIGINT, before)
