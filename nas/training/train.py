"""Trains a network to the end of a rung, from wherever its checkpoints left it."""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import structlog
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from nas.datasets import Split, load_dataset
from nas.jobs import RungResult, TrainJob
from nas.training import checkpoint as checkpoints
from nas.training.checkpoint import Checkpoint, ForeignCheckpoint, rolling_file, rung_file
from nas.training.images import augment, to_size
from nas.training.network import channels_last, job_graph, network_seed, one_thread, seeded
from nas.training.norms import recalibrate
from nas.training.recipe import epoch_batches, learning_rate, make_optimizer, steps_per_epoch
from search_spaces.errors import CorruptFile, NasError, TrainingFailed
from search_spaces.torch_network import TorchNetwork, numpy_weights

CHECKPOINT_SECONDS = 2.0
"""The least time between two checkpoints inside a rung: what a crash can cost, beside one epoch."""
EVALUATION_BATCH = 256
RECALIBRATION_BATCH = 256

log = structlog.get_logger(__name__)


def train_to_rung(job: TrainJob, should_stop: Callable[[], bool]) -> RungResult | None:
    """Trains up to ``job.epochs`` and evaluates on the validation part; None when stopped before.

    Continues from the newest sound checkpoint in ``job.folder``, bit by bit as if it had never been
    interrupted; a rung that is complete there is not trained again. ``should_stop`` is asked before every
    batch. A failure of this network (a loss that is not finite, no memory, a folder that holds another
    job's checkpoints) is a result with ``error``. Raises: OSError if a checkpoint cannot be written.
    """
    started = time.perf_counter()
    try:
        with one_thread():
            done = _completed(job) or _train(job, should_stop)
    except (NasError, MemoryError, RuntimeError) as error:
        if not isinstance(error, NasError) and not _is_out_of_memory(error):
            raise
        log.warning("training failed", trial=job.number, rung=job.rung, error=str(error))
        seconds = time.perf_counter() - started
        return RungResult(job.number, job.rung, job.epochs, 0.0, 0.0, seconds, error=str(error) or "out of memory")
    if done is None:
        return None
    accuracy, accuracy_error = binomial(done.correct, done.validated)
    return RungResult(job.number, job.rung, job.epochs, accuracy, accuracy_error, done.seconds)


def test_accuracy(job: TrainJob) -> tuple[float, float]:
    """Accuracy on the test part after ``job.rung``, and the half-width of its 90 % interval.

    Raises: CorruptFile if the checkpoint is missing, damaged or another job's.
    """
    with one_thread():
        network = _load_network(job)
        part = load_dataset(job.dataset).test
        return binomial(count_correct(network, *_tensors(part, network)), len(part))


def load_trained(job: TrainJob) -> dict[str, NDArray[np.float32]]:
    """The weights after ``job.rung``, by ``<entry>.<tensor>``.

    Raises: CorruptFile if the checkpoint is missing, damaged or another job's.
    """
    return numpy_weights(_load_network(job))


def binomial(correct: int, samples: int) -> tuple[float, float]:
    """The share, and the half-width of its 90 % Wilson interval (which is not 0 at a share of 1)."""
    z, share = 1.6449, correct / samples
    spread = math.sqrt(share * (1 - share) / samples + z**2 / (4 * samples**2))
    return share, z * spread / (1 + z**2 / samples)


def count_correct(network: TorchNetwork, images: Tensor, labels: Tensor) -> int:
    """How many images the network puts in their class, in eval mode. Leaves the network in eval mode."""
    network.eval()
    with torch.inference_mode():
        parts = zip(images.split(EVALUATION_BATCH), labels.split(EVALUATION_BATCH), strict=True)
        return sum(int((network(x).argmax(1) == y).sum()) for x, y in parts)


def _completed(job: TrainJob) -> Checkpoint | None:
    """The end of the job's rung, if it was reached before."""
    return _try_load(rung_file(job.folder, job.rung), job)


def _train(job: TrainJob, should_stop: Callable[[], bool]) -> Checkpoint | None:
    began = time.perf_counter()
    dataset = load_dataset(job.dataset)
    arch, graph = job_graph(job.space, job.architecture, job.dataset)
    with seeded(network_seed(job.seed, arch)):
        network = channels_last(TorchNetwork(graph))
    optimizer = make_optimizer(network, job.training)
    start = _latest(job)
    if start is not None:
        network.load_state_dict(start.network)
        optimizer.load_state_dict(start.optimizer)
    images, labels = _tensors(dataset.train, network)
    # time spent on this rung before an interruption counts
    before = start.seconds if start is not None and start.rung == job.rung else 0.0
    first = start.epoch if start is not None else 0

    def state(epoch: int) -> Checkpoint:
        seconds = before + time.perf_counter() - began
        return Checkpoint(job.rung, epoch, seconds, 0, 0, network.state_dict(), optimizer.state_dict())

    saved = time.perf_counter()
    for epoch in range(first, job.epochs):
        # the seed covers what the network itself draws (dropout)
        with seeded(int(np.random.default_rng([job.seed, epoch, 1]).integers(2**63))):
            if not _train_epoch(job, epoch, network, optimizer, images, labels, should_stop):
                return None
        if epoch + 1 < job.epochs and time.perf_counter() - saved >= CHECKPOINT_SECONDS:
            checkpoints.save(rolling_file(job.folder), job, state(epoch + 1))
            saved = time.perf_counter()
    recalibrate(network, images, RECALIBRATION_BATCH)
    correct = count_correct(network, *_tensors(dataset.validation, network))
    done = replace(state(job.epochs), correct=correct, validated=len(dataset.validation))
    checkpoints.save(rung_file(job.folder, job.rung), job, done)
    rolling_file(job.folder).unlink(missing_ok=True)
    return done


def _train_epoch(
    job: TrainJob,
    epoch: int,
    network: TorchNetwork,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    should_stop: Callable[[], bool],
) -> bool:
    """One pass over the training part; False when stopped. Raises: TrainingFailed if the loss is not finite."""
    recipe = job.training
    per_epoch = steps_per_epoch(len(images), recipe.batch_size)
    network.train()
    for i, (index, draws) in enumerate(epoch_batches(len(images), recipe.batch_size, job.seed, epoch)):
        if should_stop():
            return False
        rate = learning_rate(epoch * per_epoch + i, job.total_epochs * per_epoch, recipe.learning_rate)
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = augment(images[index], draws) if recipe.augment else images[index]
        loss = F.cross_entropy(network(batch), labels[index], label_smoothing=recipe.label_smoothing)
        if not math.isfinite(loss.item()):
            raise TrainingFailed(f"the loss became {loss.item()} in epoch {epoch + 1}", hint="lower the learning rate")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return True


def _latest(job: TrainJob) -> Checkpoint | None:
    """The newest sound state from which the rung can be continued, None to start afresh."""
    rolling = _try_load(rolling_file(job.folder), job)
    if rolling is not None and rolling.rung == job.rung and rolling.epoch <= job.epochs:
        return rolling
    for rung in range(job.rung - 1, 0, -1):
        found = _try_load(rung_file(job.folder, rung), job)
        if found is not None:
            return found
    return None


def _try_load(path: Path, job: TrainJob) -> Checkpoint | None:
    """The checkpoint, None if it is missing or damaged: what it held is trained again."""
    try:
        return checkpoints.load(path, job)
    except FileNotFoundError:
        return None
    except ForeignCheckpoint:
        raise
    except CorruptFile as error:
        log.warning("checkpoint ignored", trial=job.number, rung=job.rung, reason=str(error))
        return None


def _load_network(job: TrainJob) -> TorchNetwork:
    path = rung_file(job.folder, job.rung)
    try:
        found = checkpoints.load(path, job)
    except FileNotFoundError:
        raise CorruptFile(f"{path} is missing", hint="the trial has no weights for this rung") from None
    _, graph = job_graph(job.space, job.architecture, job.dataset)
    with seeded(0):
        network = channels_last(TorchNetwork(graph))
    network.load_state_dict(found.network)
    network.eval()
    return network


def _tensors(part: Split, network: TorchNetwork) -> tuple[Tensor, Tensor]:
    """Images at the size of the network's input, and labels."""
    return to_size(part.images, network.graph.inputs[0][1:]), torch.tensor(part.labels)


def _is_out_of_memory(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or "allocate memory" in text or "out of memory" in text
