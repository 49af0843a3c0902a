"""Device profiles: a row in the database, and a file under the data folder."""

import structlog

from api import store
from api.db import Database
from api.models import DeviceProfile, utcnow
from api.settings import Settings
from latency_models.profile import Profile, load_profile, save_profile
from search_spaces.errors import CorruptFile, DeviceUnavailable
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
        with self._database.read() as session:
            row = store.get_profile(session, device, space, task_key(task))
        if row is None:
            return None
        try:
            return load_profile(self._settings.data_dir / row.path, row.sha256, check_machine=self._check_machine)
        except (CorruptFile, DeviceUnavailable) as error:
            log.warning("stored profile not used", device=device, space=space, reason=error.message)
            return None

    def put(self, profile: Profile) -> None:
        """Store a profile in place of the one for the same device, space and task."""
        path, sha256 = save_profile(profile, self._settings.profile_dir)
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
