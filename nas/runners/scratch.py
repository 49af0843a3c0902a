"""A folder for one process's passing files, removed with it, or by the next process if it was killed."""

import fcntl
import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import sleep, time

PREFIX = "nas-ray-"
LOCK = "in-use"
NEW_S = 60.0
"""A folder younger than this may not have its lock yet."""
REMOVE_TRIES = 20

logger = logging.getLogger(__name__)


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """A new folder in ``parent``, locked while this process lives; abandoned ones beside it are removed."""
    for folder in parent.glob(f"{PREFIX}*"):
        _remove_abandoned(folder)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    with (folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            _remove(folder)


def _remove_abandoned(folder: Path) -> None:
    # another user's folder, a folder that is just being removed, and a folder in use are left alone
    with suppress(OSError):
        if time() - folder.stat().st_mtime > NEW_S:
            with (folder / LOCK).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(folder)


def _remove(folder: Path) -> None:
    """Removes the folder, into which processes that are just ending may still write."""
    for _ in range(REMOVE_TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        sleep(0.1)
    logger.warning("could not remove %s", folder)
