"""Device profiles: a row in the database, and a file under the data folder."""

import errno
import os
from pathlib import Path

import structlog

from api import store
from api.db import Database
from api.models import DeviceProfile, utcnow
from api.remote_timer import timer_of
from api.settings import Settings
from latency_models.kernel_store import KernelStore
from latency_models.profile import Profile, load_profile, save_profile
from latency_models.timing import Machine, Timer
from search_spaces.errors import CorruptFile, DeviceUnavailable, StorageFull
from search_spaces.task import Task

log = structlog.get_logger("profiles")


def task_key(task: Task) -> str:
    """A task as text: ``classification-10-3x32x32`` for ten classes."""
    return f"classification-{task.head.classes}-{'x'.join(map(str, task.input_shape))}"


class Profiles:
    """The stored profiles, as searches use them.

    ``check_machine``: only profiles made on this machine count (a worker measures here; the api only
    predicts, and may run elsewhere).
    """

    def __init__(self, database: Database, settings: Settings, *, check_machine: bool = True) -> None:
        self._database = database
        self._settings = settings
        self._check_machine = check_machine

    def get(self, device: str, space: str, task: Task) -> Profile | None:
        """The profile for a device, space and task; None if there is none that can be used, which is then made anew."""
        try:
            profile = self._load(device, space, task)
            if profile is not None and self._check_machine:
                _check_machine(profile, self.timer(device).machine())
        except (CorruptFile, DeviceUnavailable) as error:
            log.warning("stored profile not used", device=device, space=space, reason=error.message)
            return None
        return profile

    def stale(self, device: str, space: str, task: Task) -> str | None:
        """Why the stored profile cannot be used; None if it can, or if there is none."""
        try:
            profile = self._load(device, space, task)
            if profile is not None:
                _check_machine(profile, self.timer(device).machine())
        except (CorruptFile, DeviceUnavailable) as error:
            return error.message
        return None

    def _load(self, device: str, space: str, task: Task) -> Profile | None:
        with self._database.read() as session:
            row = store.get_profile(session, device, space, task_key(task))
        if row is None:
            return None
        return load_profile(self._settings.data_dir / row.path, row.sha256, check_machine=False)

    def timer(self, device: str) -> Timer:
        """Who times the device: this process, or its agent. Raises: DeviceUnavailable."""
        return timer_of(self._database, self._settings, device)

    def kernels(self, timer: Timer) -> KernelStore:
        """The finished timings of a device on the machine that it now is. Raises: DeviceUnavailable."""
        return KernelStore(self._settings.data_dir / "kernels", timer.device, timer.machine())

    def put(self, profile: Profile) -> None:
        """Store a profile in place of the one for the same device, space and task.

        Raises: StorageFull; the profile before is then still there.
        """
        path, sha256 = self._save(profile)
        row = DeviceProfile(
            device=profile.device.name,
            space=profile.space,
            task=task_key(profile.task),
            path=str(path.relative_to(self._settings.data_dir)),
            sha256=sha256,
            report=dict(profile.report),
            created_at=utcnow(),
        )
        with self._database.write() as session:
            store.put_profile(session, row)

    def _save(self, profile: Profile) -> tuple[Path, str]:
        folder = self._settings.profile_dir
        try:
            return save_profile(profile, folder)
        except OSError as error:
            for unfinished in folder.glob(f"*.{os.getpid()}.tmp"):
                unfinished.unlink(missing_ok=True)
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            message = f"no space left for the profile of {profile.device.name} in {folder}"
            raise StorageFull(message, hint="free some space, then start again: what was timed is kept") from error


def _check_machine(profile: Profile, machine: Machine) -> None:
    """Raises DeviceUnavailable where the device is no longer what it was when it was profiled."""
    runtime = f"{profile.device.runtime} version"
    for what, profiled, now in (
        ("CPU", profile.cpu, machine.cpu),
        (runtime, profile.runtime_version, machine.runtime_version),
    ):
        if profiled != now:
            raise DeviceUnavailable(
                f"the profile of {profile.device.name} was made with {what} {profiled}, the device now has {now}",
                hint=f"hwnas profile --device {profile.device.name} --space {profile.space}",
            )
