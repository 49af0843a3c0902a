"""The service for tests: the real application on a real port of this machine."""

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from api.app import create_app
from api.net import bind
from api.settings import Settings
from nas.trial import Trial, TrialState

SPEC: Mapping[str, Any] = {
    "name": "digits on this machine",
    "space": "mobilenet_v2_small",
    "dataset": "digits",
    "objectives": [
        {"metric": "accuracy", "goal": "maximize"},
        {"metric": "latency_ms", "device": "local-onnxruntime", "goal": "minimize"},
    ],
    "budget": {"scored": 20, "trainings": 4},
    "rungs": [{"epochs": 1}, {"epochs": 2}],
}


SPACE: Mapping[str, Any] = {
    "name": "two_kinds",
    "description": "two kinds of layers",
    "width": [0.5, 1.0],
    "stages": [
        {"name": "stem", "block": "conv_bn_act", "channels": 8, "kernel": 3, "activation": "relu", "single": True},
        {
            "name": "body",
            "channels": 16,
            "stride": 2,
            "depth": [1, 2],
            "activation": "relu",
            "blocks": {
                "ghost": {"block": "ghost_bottleneck", "kernel": 3, "expand": [1.5, 2]},
                "inverted": {"block": "inverted_residual", "kernel": [3, 5], "expand": 2, "attention": "none"},
            },
        },
    ],
}
"""A space of a user's own, small enough to train in a test."""


def make_settings(folder: Path, **changes: Any) -> Settings:
    values: dict[str, Any] = {"data_dir": folder, "runner": "local", "poll_seconds": 0.05, "lease_seconds": 3.0}
    return Settings(**(values | changes))


@contextlib.contextmanager
def serving(settings: Settings) -> Iterator[httpx.Client]:
    """A client of the application, which answers on a free port until the block ends."""
    with bind("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn.Config(create_app(settings), log_config=None))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            wait_until(lambda: server.started or not thread.is_alive())
            with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join(timeout=20)


def wait_until(condition: Any, seconds: float = 120.0) -> None:
    """Wait for a condition; fails the test after a time that only a hang exceeds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not true within {seconds} s")
        time.sleep(0.02)


def make_trial(number: int, **changes: Any) -> Trial:
    return replace(Trial(number, f"arch-{number}", f"id-{number}", f"print-{number}", TrialState.SCORED), **changes)
