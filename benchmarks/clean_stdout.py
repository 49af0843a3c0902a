"""Standard output for results alone: what libraries in C print there goes to standard error."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def clean_stdout() -> Iterator[None]:
    """Within it nothing reaches standard output. HiGHS, for one, prints lines that no option turns off."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        ctypes.CDLL(None).fflush(None)  # C's own buffers, while they still lead elsewhere
        os.dup2(kept, 1)
        os.close(kept)
