"""The ONNX bundle: model, weights, architecture, and a report of the checks that it passed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from latency_models.estimate import Source
from latency_models.measure import measure_latency_ms
from latency_models.timing import Timer, Workload
from nas.admission import task_of
from nas.datasets import load_dataset
from nas.exporters import EXPORTERS, ExportFailed
from nas.search import training_job
from nas.spec import SearchSpec
from nas.training.images import to_size
from nas.training.train import load_trained
from nas.trial import Trial
from search_spaces.definition import SpaceDefinition, space_of
from search_spaces.deploy import deploy
from search_spaces.errors import DeviceUnavailable
from search_spaces.graph import Graph
from search_spaces.onnx_graph import to_onnx
from search_spaces.torch_network import TorchNetwork, load_numpy_weights

TOLERANCE = 1e-4
"""Allowed difference of outputs, relative to the largest output or 1."""


def export_onnx(
    spec: SearchSpec, trial: Trial, *, workspace: Path, folder: Path, timer_of: Callable[[str], Timer]
) -> dict[str, Any]:
    """Writes ``model.onnx``, ``weights.safetensors``, ``architecture.json`` and ``report.json``.

    The file is checked by the ONNX checker, and its outputs in ONNX Runtime against PyTorch's on real
    and random inputs and several batch sizes. Raises: ExportFailed where they differ.
    """
    space = space_of(spec.space)
    arch = space.from_string(trial.architecture)
    graph = space.graph(arch, task_of(spec))
    weights = load_trained(training_job(spec, trial, trial.rung, workspace))
    deployed, deployed_weights = deploy(graph, weights)
    model = to_onnx(deployed, deployed_weights)
    _describe(model, spec, trial)
    onnx.checker.check_model(model, full_check=True)
    data = bytes(model.SerializeToString())
    parity = _parity(graph, weights, data, spec, trial)
    report = {
        "file": EXPORTERS["onnx"].file,
        "format": "onnx",
        "opset": model.opset_import[0].version,
        "input": {"name": graph.input_names[0], "shape": ["batch", *graph.inputs[0]], "dtype": "float32"},
        "parity": parity,
        "accuracy": _figures(trial, "accuracy"),
        "test_accuracy": _figures(trial, "test_accuracy"),
        "params": graph.params,
        "macs": graph.macs,
        "file_bytes": len(data),
        "epochs": trial.epochs,
        "latency_ms": [
            _analytic(device, trial)
            if trial.is_analytic(device)
            else _measured(Workload(deployed, deployed_weights), device, timer_of, spec.seed, trial)
            for device in spec.devices
        ],
        "versions": {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__, "torch": torch.__version__},
    }
    description = {
        "space": spec.space_name,
        **({"definition": spec.space.document} if isinstance(spec.space, SpaceDefinition) else {}),
        "architecture": trial.architecture,
        "choices": space.to_dict(arch),
        "architecture_id": trial.architecture_id,
        "fingerprint": trial.fingerprint,
    }
    _write(folder, data, weights, description, report)
    return report


def _describe(model: onnx.ModelProto, spec: SearchSpec, trial: Trial) -> None:
    """Puts into the file what a user of it alone must know: the classes, and how inputs were normalised."""
    dataset = load_dataset(spec.dataset)
    facts = {
        "space": spec.space_name,
        "architecture": trial.architecture,
        "dataset": spec.dataset,
        "input_mean": json.dumps([round(float(value), 8) for value in dataset.mean]),
        "input_std": json.dumps([round(float(value), 8) for value in dataset.std]),
    }
    for key, value in facts.items():
        model.metadata_props.add(key=f"hwnas.{key}", value=value)


def _parity(
    graph: Graph, weights: dict[str, NDArray[Any]], data: bytes, spec: SearchSpec, trial: Trial
) -> dict[str, Any]:
    network = TorchNetwork(graph).eval()
    load_numpy_weights(network, weights)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    images = to_size(load_dataset(spec.dataset).validation.images, graph.inputs[0][1:]).contiguous().numpy()
    rng = np.random.default_rng(spec.seed)
    batches = {
        "validation images": images[:256],
        "random, batch 1": rng.standard_normal((1, *graph.inputs[0])).astype(np.float32),
        "random, batch 7": 3 * rng.standard_normal((7, *graph.inputs[0])).astype(np.float32),
    }
    worst, allowed = 0.0, 0.0
    for name, batch in batches.items():
        with torch.inference_mode():
            expected = network(torch.from_numpy(np.ascontiguousarray(batch))).numpy()
        found = session.run(None, {graph.input_names[0]: np.ascontiguousarray(batch)})[0]
        difference = float(np.abs(expected - found).max())
        limit = TOLERANCE * max(1.0, float(np.abs(expected).max()))
        if not difference <= limit:
            raise ExportFailed(
                f"trial {trial.number}: the ONNX file differs from PyTorch by {difference:.2e} on {name} "
                f"(allowed {limit:.2e})",
                hint="export another trial of the front and report this one",
            )
        if difference >= worst:
            worst, allowed = difference, limit
    return {"max_abs_difference": worst, "tolerance": allowed, "inputs": list(batches), "passed": True}


def _figures(trial: Trial, metric: str) -> dict[str, Any] | None:
    found = trial.find(metric, rung=trial.rung)
    return None if found is None else {"value": found.value, "error": found.error, "source": found.source.value}


def _measured(work: Workload, device: str, timer_of: Callable[[str], Timer], seed: int, trial: Trial) -> dict[str, Any]:
    """The latency, measured now; or as it was measured when the search ended, where the device is not there."""
    note = ""
    try:
        (estimate,) = measure_latency_ms([work], timer_of(device), seed=seed)
        value, error = estimate.value, estimate.error
    except DeviceUnavailable as unavailable:
        found = trial.find("latency_ms", device, source=Source.MEASURED)
        if found is None:
            raise
        value, error, note = found.value, found.error, f"measured by the search; {unavailable.message}"
    predicted = trial.find("latency_ms", device, rung=0)
    return {
        "device": device,
        "value": value,
        "error": error,
        "source": Source.MEASURED.value,
        "predicted": None if predicted is None else {"value": predicted.value, "error": predicted.error},
        **({"note": note} if note else {}),
    }


def _analytic(device: str, trial: Trial) -> dict[str, Any]:
    """The figure of a device that nobody can attach: it has been worked out, and nothing was measured."""
    found = trial.find("latency_ms", device, source=Source.ANALYTIC)
    value, error = (found.value, found.error) if found else (None, None)
    return {"device": device, "value": value, "error": error, "source": Source.ANALYTIC.value, "predicted": None}


def _write(
    folder: Path, data: bytes, weights: dict[str, NDArray[Any]], description: dict[str, Any], report: dict[str, Any]
) -> None:
    """Fills a folder beside the wanted one and renames it, so that a bundle is whole or absent."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    (partial / EXPORTERS["onnx"].file).write_bytes(data)
    save_file(weights, partial / "weights.safetensors")
    (partial / "architecture.json").write_text(json.dumps(description, indent=2) + "\n")
    (partial / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)
