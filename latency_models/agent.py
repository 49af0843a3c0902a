"""The agent of a remote device, and the loop that times models, which this machine's own measurements use too.

One file that needs nothing but the standard library and onnxruntime, so it can be copied to the device alone::

    curl -O http://SERVER:8000/v1/agent.py
    HWNAS_AGENT_TOKEN=... python agent.py --server http://SERVER:8000 --name pi4

It asks the service for files to time, times them, and sends the samples back. It runs nothing but ONNX files whose
SHA-256 the service named before, takes no path and no command from the service, and reads no other field than those
below. A lost connection is waited for; what was timed meanwhile is sent later.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import http.client
import json
import os
import platform
import random
import signal
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

PROTOCOL = 1
"""What both sides must speak; the service refuses another one."""
TOKEN_VARIABLE = "HWNAS_AGENT_TOKEN"
RUNS_PER_VISIT = 8
LEAST_VISITS = 6
MODEL_S = 2.0

MIB = 1024 * 1024
MAX_ANSWER_BYTES = MIB
MAX_FILE_BYTES = 256 * MIB
MAX_BATCH_BYTES = 1024 * MIB
MAX_JOBS = 1024
POLL_S = 1.0
TIMEOUT_S = 30.0
LONGEST_WAIT_S = 30.0
GIVE_UP_S = 7 * 24 * 3600.0
"""After so long without an answer the agent ends."""

T = TypeVar("T")


def time_visits(
    runs: Sequence[Callable[[], object]],
    visits: int,
    visit_s: float,
    seed: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[list[list[int]]] | None:
    """Nanoseconds of each timed run of each model, visit by visit; None if told to stop.

    All models are visited in turn, in an order that changes from turn to turn: a run that is not counted, then
    runs for ``visit_s`` seconds, one at least and ``RUNS_PER_VISIT`` at most. A model so slow that its visits would
    take more than ``MODEL_S`` seconds has fewer of them, ``LEAST_VISITS`` at least, spread over all turns.
    """
    rng = random.Random(seed)
    clock = time.perf_counter_ns
    samples: list[list[list[int]]] = [[] for _ in runs]
    wanted = []
    for run in runs:
        start = clock()
        run()
        visit_takes_s = max(visit_s, (clock() - start) / 1e9) + (clock() - start) / 1e9
        wanted.append(max(min(visits, LEAST_VISITS), min(visits, int(MODEL_S / visit_takes_s))))
    order = list(range(len(runs)))
    for turn in range(visits):
        rng.shuffle(order)
        for index in order:
            if turn * wanted[index] // visits == (turn - 1) * wanted[index] // visits:
                continue
            if should_stop():
                return None
            run = runs[index]
            left = visit_s * 1e9
            visit: list[int] = []
            run()
            while len(visit) < RUNS_PER_VISIT and (left > 0 or not visit):
                start = clock()
                run()
                took = clock() - start
                visit.append(took)
                left -= took
            samples[index].append(visit)
    return samples


class Refused(Exception):
    """The service answered that it will not: ``status`` is that of HTTP."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Unreachable(Exception):
    """No answer, or none that can be understood: worth trying again."""


class Stopped(Exception):
    """The agent was told to end."""


class BadModel(Exception):
    """A file that is not timed, and why."""


class Job(NamedTuple):
    """One file to time."""

    id: str
    sha256: str
    size: int


class Batch(NamedTuple):
    """Files that are timed together, visited in turn, and how."""

    lease: str
    lease_s: float
    threads: int
    batch_size: int
    visits: int
    visit_s: float
    seed: int
    jobs: list[Job]


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the token to another address."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Service:
    """The service's side of the protocol, one method a call.

    Each raises Refused, or Unreachable after ``TIMEOUT_S`` without an answer.
    """

    def __init__(self, url: str, name: str, token: str) -> None:
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise ValueError(f"{url!r} is no address of a service; it begins with http:// or https://")
        self._base = f"{url.rstrip('/')}/v1/agents/{urllib.parse.quote(name, safe='')}"
        self._token = token
        self._opener = urllib.request.build_opener(_NoRedirect)

    def hello(self, facts: dict[str, Any]) -> None:
        self._post("hello", facts)

    def lease(self) -> Batch | None:
        """The next files to time; None if there are none."""
        try:
            batch = self._post("lease", {})["batch"]
            return None if batch is None else _batch(batch)
        except (KeyError, TypeError, ValueError) as error:
            raise Unreachable(f"the service's answer cannot be understood: {error!r}") from None

    def renew(self, lease: str) -> bool:
        """Whether the files are still wanted from this agent."""
        return self._post("renew", {"lease": lease}).get("held") is True

    def file(self, job: Job) -> bytes:
        """The file of a job. Raises: BadModel if it is not the one that was named."""
        data = self._open("GET", f"files/{job.sha256}", None, job.size)
        found = hashlib.sha256(data).hexdigest()
        if found != job.sha256:
            raise BadModel(f"the file has SHA-256 {found}, the job names {job.sha256}: it was not run")
        return data

    def result(self, lease: str, job: str, result: dict[str, Any]) -> None:
        """Hands over ``samples`` or an ``error``. The same again does no harm."""
        self._post(f"jobs/{job}", {"lease": lease, **result})

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        data = self._open("POST", path, json.dumps(body).encode(), MAX_ANSWER_BYTES)
        try:
            answer = json.loads(data[:MAX_ANSWER_BYTES] or b"{}")
        except ValueError:
            raise Unreachable("the answer is not JSON; is this the address of the service?") from None
        return answer if isinstance(answer, dict) else {}

    def _open(self, method: str, path: str, body: bytes | None, limit: int) -> bytes:
        """The answer, or its first ``limit`` bytes and one more."""
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self._base}/{path}", body, headers, method=method)
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as response:
                data: bytes = response.read(limit + 1)
                if response.length and len(data) <= limit:
                    raise OSError("the answer broke off")
        except urllib.error.HTTPError as error:
            with error:
                message = _message(error)
            if error.code >= 500 or error.code in (408, 429):
                raise Unreachable(message) from None
            raise Refused(error.code, message) from None
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"no answer from {self._base}: {error}") from None
        return data


def _message(error: urllib.error.HTTPError) -> str:
    """What the service said was wrong, fit for a terminal."""
    try:
        told = json.loads(error.read(10_000))["error"]
        text = f"{told['message']} ({told['hint']})" if told["hint"] else str(told["message"])
    except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException):
        text = f"the service answered {error.code}"
    return "".join(c if c.isprintable() else " " for c in text)[:1000]


def _batch(answer: dict[str, Any]) -> Batch:
    """Reads the known fields, each within its limits. Raises: KeyError, TypeError, ValueError."""
    jobs = [Job(_hex(job["id"], 32), _hex(job["sha256"], 64), _whole(job, "size")) for job in answer["jobs"]]
    if not 1 <= len(jobs) <= MAX_JOBS or sum(job.size for job in jobs) > MAX_BATCH_BYTES:
        raise ValueError(f"{len(jobs)} files; at most {MAX_JOBS} and {MAX_BATCH_BYTES} bytes at a time")
    seconds = [float(answer[name]) for name in ("lease_s", "visit_s")]
    if not all(0 < value <= 3600 for value in seconds):
        raise ValueError(f"lease_s, visit_s: {seconds}")
    threads, batch_size, visits = [_whole(answer, name) for name in ("threads", "batch_size", "visits")]
    lease, seed = _hex(answer["lease"], 32), int(answer["seed"])
    return Batch(lease, seconds[0], threads, batch_size, visits, seconds[1], seed, jobs)


def _hex(value: Any, length: int) -> str:
    if not isinstance(value, str) or len(value) != length or set(value) - set("0123456789abcdef"):
        raise ValueError(f"{str(value)[:100]!r} is not {length} hexadecimal digits")
    return value


def _whole(answer: dict[str, Any], name: str) -> int:
    limit = MAX_FILE_BYTES if name == "size" else 1_000_000
    value = answer[name]
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= limit:
        raise ValueError(f"{name} {str(value)[:100]} is not from 1 to {limit}")
    return value


def load_onnx(model: bytes, threads: int, batch_size: int, seed: int = 0) -> Callable[[], object]:
    """A function that runs the model once on fixed random inputs, as this machine's own measurements do.

    Sequential, without spinning threads, every optimisation on; weights in other files are not looked for.
    Raises: BadModel.
    """
    import numpy as np
    import onnxruntime as ort

    types = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8}
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    options.add_free_dimension_override_by_name("batch", batch_size)
    options.log_severity_level = 4
    rng = np.random.default_rng(seed)
    try:
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        binding = session.io_binding()
        held = []  # a bound buffer must outlive the binding
        for value in session.get_inputs():
            shape = [batch_size if isinstance(n, str) else n for n in value.shape]
            array = (rng.standard_normal(shape) * (1 if "float" in value.type else 30)).astype(types[value.type])
            held.append(ort.OrtValue.ortvalue_from_numpy(array))
            binding.bind_ortvalue_input(value.name, held[-1])
        for value in session.get_outputs():
            shape = [batch_size if isinstance(n, str) else n for n in value.shape]
            held.append(ort.OrtValue.ortvalue_from_shape_and_type(shape, types[value.type], "cpu"))
            binding.bind_ortvalue_output(value.name, held[-1])
        session.run_with_iobinding(binding)
    except Exception as error:  # onnxruntime raises a dozen unrelated classes
        raise BadModel(f"onnxruntime {ort.__version__} does not run the model: {error}") from None

    def run(keep: object = (session, held)) -> None:
        session.run_with_iobinding(binding)

    return run


def describe_machine() -> dict[str, Any]:
    """What the service is told of this machine. Raises: ImportError without onnxruntime."""
    import onnxruntime

    affinity = getattr(os, "sched_getaffinity", None)
    threads = len(affinity(0)) if affinity else os.cpu_count() or 1
    version = onnxruntime.__version__
    return {"protocol": PROTOCOL, "cpu": _cpu(), "runtime_version": version, "threads": threads}


def _cpu() -> str:
    """The processor, precise enough that latencies of another one do not hold."""
    facts: dict[str, str] = {}
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            for line in info:
                key, _, value = line.partition(":")
                facts.setdefault(key.strip(), value.strip())
    except OSError:
        pass
    name = facts.get("model name") or facts.get("Model") or platform.processor() or "unknown CPU"
    named = ("cpu family", "model", "stepping", "CPU implementer", "CPU part", "CPU revision")
    family = [f"{key} {facts[key]}" for key in named if key in facts]
    return f"{name} ({', '.join([platform.machine(), *family])})"[:300]


class Agent:
    """Leases files, times them and hands the samples over, until ``stop`` is set."""

    def __init__(self, service: Service, say: Callable[[str], object], stop: threading.Event) -> None:
        self.service = service
        self.say = say
        self.stop = stop

    def run(self, poll_s: float = POLL_S) -> None:
        """Raises: Refused (a wrong token, another protocol), Stopped, Unreachable after ``GIVE_UP_S``."""
        facts = describe_machine()
        self._answered(partial(self.service.hello, facts))
        self.say(f"ready: onnxruntime {facts['runtime_version']}, {facts['cpu']}, {facts['threads']} threads")
        while not self.stop.is_set():
            batch = self._answered(self.service.lease)
            if batch is None:
                self.stop.wait(poll_s)
                continue
            self.say(f"timing {len(batch.jobs)} files")
            for job, result in self._timed(batch).items():
                self._hand_over(batch.lease, job, result)

    def _answered(self, call: Callable[[], T]) -> T:
        """The answer to a call, however often it must be made; the waits between grow up to ``LONGEST_WAIT_S``."""
        wait_s, begun = 0.5, time.monotonic()
        while not self.stop.is_set():
            try:
                return call()
            except Unreachable as error:
                if wait_s == 0.5:
                    self.say(f"{error}; trying again")
                if time.monotonic() - begun > GIVE_UP_S:
                    raise
                self.stop.wait(wait_s)
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)
        raise Stopped

    def _hand_over(self, lease: str, job: str, result: dict[str, Any]) -> None:
        try:
            self._answered(partial(self.service.result, lease, job, result))
        except Refused as error:
            if error.status == 401:
                raise
            self.say(f"job {job}: {error}")  # given up, taken over, or queued again: the service knows

    def _timed(self, batch: Batch) -> dict[str, dict[str, Any]]:
        """The results by job; none if the service no longer wants them."""
        results: dict[str, dict[str, Any]] = {}
        with _Lease(self.service, batch, self.stop) as lease:
            runs: dict[str, Callable[[], object]] = {}
            for job in batch.jobs:
                if lease.lost():
                    return {}
                try:
                    model = self._answered(partial(self.service.file, job))
                    runs[job.id] = load_onnx(model, batch.threads, batch.batch_size, batch.seed)
                except BadModel as error:
                    self.say(f"job {job.id}: {error}")
                    results[job.id] = {"error": str(error)[:1000]}
                except Refused as error:
                    if error.status == 401:
                        raise
                    self.say(f"job {job.id}: {error}")
                    return {}
            gc.disable()
            try:
                samples = time_visits(list(runs.values()), batch.visits, batch.visit_s, batch.seed, lease.lost)
            finally:
                gc.enable()
        if samples is None:
            self.say("told to stop" if self.stop.is_set() else "the files are no longer wanted")
            return {}
        return {**results, **{job: {"samples": samples[i]} for i, job in enumerate(runs)}}


class _Lease:
    """Renews a lease in a thread of its own while files are timed."""

    def __init__(self, service: Service, batch: Batch, stop: threading.Event) -> None:
        self._service = service
        self._batch = batch
        self._stop = stop
        self._lost = threading.Event()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def lost(self) -> bool:
        return self._lost.is_set() or self._stop.is_set()

    def _keep(self) -> None:
        while not self._done.wait(self._batch.lease_s / 3):
            try:
                if not self._service.renew(self._batch.lease):
                    self._lost.set()
            except Refused:
                self._lost.set()
            except Unreachable:
                continue  # the samples are kept, and sent when the service is back

    def __enter__(self) -> _Lease:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(timeout=TIMEOUT_S)


def run_agent(url: str, name: str, token: str) -> int:
    """Serves until SIGTERM or Ctrl-C; the exit code: 0, or 1 with a message where the service refuses."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    def say(line: str) -> None:
        sys.stderr.write(f"agent {name}: {line}\n")
        sys.stderr.flush()

    try:
        Agent(Service(url, name, token), say, stop).run()
    except Stopped:
        pass
    except (Refused, Unreachable, ValueError) as error:
        say(str(error))
        return 1
    except ImportError as error:
        say(f"{error}; install it with: pip install onnxruntime")
        return 1
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Times ONNX files for a service.")
    parser.add_argument("--server", required=True, help="address of the service, for example http://192.168.1.2:8000")
    parser.add_argument("--name", required=True, help="the name under which the service knows this device")
    parser.add_argument("--token", default=os.environ.get(TOKEN_VARIABLE), help=f"default: ${TOKEN_VARIABLE}")
    given = parser.parse_args()
    if not given.token:
        parser.error(f"give --token or set {TOKEN_VARIABLE}; the service prints one: hwnas agents add {given.name}")
    return run_agent(given.server, given.name, given.token)


if __name__ == "__main__":
    sys.exit(main())
