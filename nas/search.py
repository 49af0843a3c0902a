"""The loop of a search: profile, explore, train, measure. It owns the order of things and nothing else.

What happens next follows from the specification and the history of trials alone, so a search that was
interrupted continues by being called again with the trials that were stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from latency_models.estimate import Source
from latency_models.kernel_store import KernelStore
from latency_models.profile import Profile, profile_device
from latency_models.timing import MeasuringStopped, Timer
from nas.admission import task_of
from nas.baselines import baseline_architectures
from nas.feasibility import ARITHMETIC, Feasibility
from nas.finish import measure_trials
from nas.jobs import RungResult, ScoreJob, ScoreResult, TrainJob
from nas.ladder import FINAL, decide, due, progress
from nas.looks import Looks
from nas.on_device import ANALYTIC, AnalyticOf, Predictor, figures, limits
from nas.runners import Runner
from nas.scores import SCORES
from nas.spec import Constraint, SearchSpec
from nas.strategies import REPEATED, STRATEGIES, Proposal, ScoredTrial, make_strategy
from nas.trial import Measurement, Trial, TrialState
from nas.waves import ReportCard, Waves
from search_spaces import Architecture, SearchSpace, Task
from search_spaces.definition import space_of
from search_spaces.errors import NasError, SpaceExhausted

EXPLORE_BATCH = 20
"""Proposals asked for, scored and stored at a time."""
PROFILE_MINUTES = 0.4
"""How long a search profiles a device that has no profile; ``hwnas profile`` takes longer, and predicts better."""

Stop = Callable[[], str | None]
"""None, or why the search must end: "cancel" (its user) or "shutdown" (its worker)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a search ended. STOPPED: its worker was told to end, and the search can go on elsewhere."""

    state: Literal["SUCCEEDED", "FAILED", "CANCELLED", "STOPPED"]
    message: str = ""
    hint: str = ""


class ProfileStore(Protocol):
    """Where device profiles are kept."""

    def get(self, device: str, space: str, task: Task) -> Profile | None: ...
    def put(self, profile: Profile) -> None: ...
    def timer(self, device: str) -> Timer:
        """Who times the device of that name. Raises: DeviceUnavailable if there is nobody."""

    def kernels(self, timer: Timer) -> KernelStore:
        """The finished timings of a device, kept between searches. Raises: DeviceUnavailable."""


class Observer(Protocol):
    """Who is told what happens. ``trials`` has stored the new versions, in one transaction, when it returns."""

    def trials(self, trials: Sequence[Trial]) -> None: ...
    def phase(self, phase: str, done: int, total: int) -> None: ...
    def rejected(self, counts: Mapping[str, int]) -> None:
        """What the bounds have rejected since ``run_search`` was called, by reason."""

    def report_card(self, card: ReportCard) -> None:
        """What training says of the proxies, after each wave."""


class _Stopped(Exception):
    """Unwinds to ``run_search`` when ``should_stop`` has given a reason."""


def run_search(
    spec: SearchSpec,
    history: Sequence[Trial],
    *,
    runner: Runner,
    profiles: ProfileStore,
    workspace: Path,
    observer: Observer,
    should_stop: Stop,
    elapsed_s: Callable[[], float],
    analytic_of: AnalyticOf = ANALYTIC,
) -> Outcome:
    """Runs a search to its end, or as far as it is let.

    ``history`` holds the trials stored so far, in order of number; no rung recorded as complete runs
    again. ``workspace`` is the search's own folder for checkpoints. ``elapsed_s`` counts from the first
    start of the search, ``analytic_of`` knows the devices that nobody can attach. Raises nothing of a user's making:
    that is an Outcome FAILED with message and hint.
    """
    search = _Search(spec, history, runner, profiles, workspace, observer, should_stop, elapsed_s, analytic_of)
    try:
        search.profile()
        search.prepare()
        search.score_baselines()
        search.explore()
        search.train()
        search.measure()
    except _Stopped as reason:
        if str(reason) == "cancel":
            search.cancel()
            return Outcome("CANCELLED", "cancelled by its user")
        return Outcome("STOPPED", "the worker ended; the search goes on when a worker runs again")
    except NasError as error:
        return Outcome("FAILED", error.message, error.hint)
    return search.outcome()


class _Search:
    """The state of one run: the trials by number, and the collaborators."""

    def __init__(
        self,
        spec: SearchSpec,
        history: Sequence[Trial],
        runner: Runner,
        profiles: ProfileStore,
        workspace: Path,
        observer: Observer,
        should_stop: Stop,
        elapsed_s: Callable[[], float],
        analytic_of: AnalyticOf,
    ) -> None:
        self.spec = spec
        self.runner = runner
        self.profiles = profiles
        self.workspace = workspace
        self.observer = observer
        self.should_stop = should_stop
        self.elapsed_s = elapsed_s
        self.analytic_of = analytic_of
        self.limits: tuple[Constraint, ...] = ()
        self.levels: dict[str, tuple[float, ...]] = {}
        self.space: SearchSpace = space_of(spec.space)
        self.task = task_of(spec)
        self.predictors: dict[str, Predictor] = {}
        self.learns = STRATEGIES[spec.strategy].learns
        self.explored = False
        self.trials = {trial.number: trial for trial in history}

    @property
    def history(self) -> list[Trial]:
        return [self.trials[number] for number in sorted(self.trials)]

    def record(self, trials: Sequence[Trial]) -> None:
        """Stores new versions first, then believes them."""
        if trials:
            self.observer.trials(trials)
            self.trials.update((trial.number, trial) for trial in trials)

    def stop_if_asked(self) -> None:
        if reason := self.should_stop():
            raise _Stopped(reason)

    def out_of_time(self) -> bool:
        return self.spec.budget.wall_seconds is not None and self.elapsed_s() >= self.spec.budget.wall_seconds

    def profile(self) -> None:
        """Finds the predictor of every device of the search, profiled now where it has neither facts nor a profile."""
        for name in self.spec.devices:
            self.stop_if_asked()
            analytic = self.analytic_of(name)
            if analytic is not None:
                self.predictors[name] = analytic
                continue
            found = self.profiles.get(name, self.space.name, self.task)
            if found is None:
                found = self._profile(name)
                self.profiles.put(found)
            self.predictors[name] = found.predictor()
            self.levels[name] = found.reference_ms
        self.limits = limits(self.predictors)

    def _profile(self, name: str) -> Profile:
        timer = self.profiles.timer(name)
        try:
            return profile_device(
                timer,
                self.space,
                self.task,
                store=self.profiles.kernels(timer),
                minutes=PROFILE_MINUTES,
                seed=self.spec.seed,
                on_progress=lambda done, total: self.observer.phase("profile", done, total),
                should_stop=lambda: self.should_stop() is not None,
            )
        except MeasuringStopped:
            self.stop_if_asked()
            raise

    def prepare(self) -> None:
        """Makes who proposes and who chooses, and tells them the history."""
        spec = self.spec
        feasible = Feasibility(self.space, self.task, spec.constraints, self.predictors, self.limits)
        if not self.trials:
            feasible.check(spec.seed)
        looks = Looks(self.space, self.task, spec.steering, self.predictors)
        self.choose = Waves(spec, self.space, looks, self.runner.slots)
        self.strategy = make_strategy(
            spec.strategy,
            space=self.space,
            feasible=feasible,
            score=spec.score,
            goals=tuple(o.goal for o in spec.steering),
            seed=spec.seed,
            look=looks,
            task=self.task,
        )
        self.strategy.tell([self._scored(trial) for trial in self.history])
        if any(trial.rung for trial in self.trials.values()):
            self._report()  # the last one may have been lost

    def owes(self, trials: Mapping[int, Trial] | None = None) -> bool:
        """Whether more networks are to be scored before the next ones train."""
        known = [*(self.trials if trials is None else trials).values()]
        if self.explored or self.out_of_time() or any(t.state == TrialState.TRAINING and t.rung == 0 for t in known):
            return False
        return len(known) < due(known, self.spec, self.learns)

    def score_baselines(self) -> None:
        """Makes the first trials of the baselines, whatever the bounds say: they are there to compare with."""
        known = {trial.architecture_id for trial in self.trials.values()}
        named = baseline_architectures(self.spec.baselines, self.space).items()
        missing = [Proposal(arch, {"baseline": name}) for name, arch in named if arch.id not in known]
        if missing:
            self.stop_if_asked()
            self._score(missing)

    def explore(self) -> None:
        """Proposes, predicts and scores as many as are due, or until the space is exhausted."""
        spec = self.spec
        while self.owes():
            missing = due(self.history, spec, self.learns) - len(self.trials)
            self.stop_if_asked()
            self.observer.phase("explore", len(self.trials), spec.budget.scored)
            try:
                proposals = self.strategy.ask(min(missing, EXPLORE_BATCH))
            except SpaceExhausted:
                self.explored = True
                break
            self.observer.rejected({bound: n for bound, n in self.strategy.rejected.items() if bound != REPEATED})
            self._score(proposals)
        self.observer.phase("explore", len(self.trials), spec.budget.scored)

    def _score(self, proposals: Sequence[Proposal]) -> None:
        spec = self.spec
        texts = [self.space.to_string(p.architecture) for p in proposals]
        jobs = [ScoreJob(spec.space, text, spec.dataset, SCORES[spec.score].proxies, spec.seed) for text in texts]
        results = self.runner.score(jobs, lambda: self.should_stop() is not None)
        self.stop_if_asked()
        first = len(self.trials)
        trials = [
            self._new_trial(first + i, proposal, text, result)
            for i, (proposal, text, result) in enumerate(zip(proposals, texts, results, strict=True))
        ]
        self.record(trials)
        self.strategy.tell([self._scored(trial) for trial in trials])

    def _new_trial(self, number: int, proposal: Proposal, text: str, result: ScoreResult) -> Trial:
        graph = self.space.graph(proposal.architecture, self.task)
        known = [
            Measurement(metric, None, 0, value(graph), 0.0, Source.ANALYTIC) for metric, value in ARITHMETIC.items()
        ]
        for device, predictor in self.predictors.items():
            for metric, estimate in figures(predictor, graph):
                known.append(Measurement(metric, device, 0, estimate.value, estimate.error, estimate.source))
        return Trial(
            number,
            text,
            proposal.architecture.id,
            graph.fingerprint,
            TrialState.SCORED if result.error is None else TrialState.FAILED,
            proxies=result.proxies,
            measurements=tuple(known),
            notes=proposal.notes,
            error=result.error,
        )

    def _scored(self, trial: Trial) -> ScoredTrial:
        """A trial as a strategy sees it: what steers, all of it minimised, None where only training shows it."""
        values: list[float | None] = []
        for objective in self.spec.steering:
            found = trial.find(objective.metric, objective.device, rung=0)
            sign = -1.0 if objective.goal == "maximize" else 1.0
            values.append(None if found is None else sign * found.value)
        arch: Architecture = self.space.from_string(trial.architecture)
        return ScoredTrial(trial.number, arch, trial.proxies, tuple(values), trial.notes, trial.accuracies)

    def train(self) -> None:
        """Lets the ladder's trials climb until nothing is left to train; explores again where that is due."""
        self.stop_if_asked()
        self._settle()
        self.runner.train(self._next_jobs, self._trained, lambda: self.should_stop() is not None)
        self.stop_if_asked()
        self._settle()

    def _next_jobs(self) -> list[TrainJob]:
        if self.owes():
            self.explore()  # while others climb
            self._settle()
        if self.out_of_time():
            return []
        jobs = decide(self.history, self.spec, self.choose, self.runner.slots).jobs
        return [self.train_job(self.trials[number], rung) for number, rung in jobs]

    def _trained(self, result: RungResult) -> None:
        trial = self.trials[result.number]
        open_beside = [t for t in self.trials.values() if t.state == TrialState.TRAINING and t.number != trial.number]
        ends_wave = result.rung == 1 and not any(t.rung == 0 for t in open_beside)
        if result.error is not None:
            changed = replace(trial, state=TrialState.FAILED, error=result.error)
        else:
            accuracy = Measurement(
                "accuracy", None, result.rung, result.accuracy, result.accuracy_error, Source.MEASURED
            )
            changed = replace(
                trial,
                rung=result.rung,
                epochs=result.epochs,
                state=TrialState.WAITING,
                measurements=(*trial.measurements, accuracy),
            )
        self._settle(changed)
        self.strategy.tell([self._scored(changed)])
        if ends_wave:
            self._report()

    def _settle(self, *changed: Trial) -> None:
        """Records changed trials, and in the same transaction the states that follow from them."""
        versions = {trial.number: trial for trial in changed}
        after = {**self.trials, **versions}
        ordered = [after[number] for number in sorted(after)]
        decision = decide(ordered, self.spec, self.choose, self.runner.slots, hold=self.owes(after))
        for number, state in decision.states.items():
            if after[number].state != state and after[number].state not in FINAL:
                versions[number] = replace(after[number], state=state)
        self.record(list(versions.values()))
        self.observer.phase("train", *progress(self.history, self.spec))

    def _report(self) -> None:
        self.observer.report_card(self.choose.card(self.history))

    def train_job(self, trial: Trial, rung: int) -> TrainJob:
        return training_job(self.spec, trial, rung, self.workspace)

    def measure(self) -> None:
        """Measures what has trained on every device, reads the test part once, and closes the trials."""
        last = len(self.spec.rungs)
        wanted = last if self.spec.measure == "last_rung" else 1
        chosen = [t for t in self.history if t.rung >= wanted and t.state != TrialState.FAILED]
        try:
            measure_trials(
                self.spec,
                self.space,
                self.task,
                chosen,
                job_of=lambda trial: self.train_job(trial, trial.rung),
                timer_of=self.profiles.timer,
                levels=self.levels,
                record=self.record,
                on_progress=lambda done, total: self.observer.phase("measure", done, total),
                stop_if_asked=self.stop_if_asked,
                should_stop=lambda: self.should_stop() is not None,
            )
        except MeasuringStopped:
            self.stop_if_asked()
            raise
        closed = []
        for trial in self.history:
            if trial.state in FINAL or trial.state == TrialState.SCORED:
                continue
            if trial.rung < last:  # the time was up before it could finish
                closed.append(replace(trial, state=TrialState.CANCELLED, error="the search ran out of its time"))
            else:
                broken = self._broken_bound(trial)
                state = TrialState.SUCCEEDED if broken is None else TrialState.INFEASIBLE
                closed.append(replace(trial, state=state, error=broken))
        self.record(closed)

    def _broken_bound(self, trial: Trial) -> str | None:
        """The first bound that the finished trial breaks by its best known figures."""
        for constraint in (*self.spec.constraints, *self.limits):
            found = trial.find(constraint.metric, constraint.device)
            if found is not None and not constraint.allows(found.value):
                return f"{constraint} is broken: {found.source} {found.value:.6g}"
        return None

    def cancel(self) -> None:
        open_trials = [t for t in self.history if t.state not in FINAL and t.state != TrialState.SCORED]
        self.record([replace(t, state=TrialState.CANCELLED) for t in open_trials])

    def outcome(self) -> Outcome:
        if any(trial.state == TrialState.SUCCEEDED for trial in self.trials.values()):
            return Outcome("SUCCEEDED")
        finished = [t for t in self.trials.values() if t.state == TrialState.INFEASIBLE]
        if finished:
            return Outcome(
                "FAILED",
                f"none of the {len(finished)} trained networks keeps every bound: {finished[0].error}",
                "relax the bound, or leave it more room for the error of the prediction",
            )
        failed = [t for t in self.trials.values() if t.state == TrialState.FAILED]
        if failed:
            return Outcome("FAILED", f"no trial reached the last rung; {len(failed)} failed: {failed[0].error}")
        return Outcome("FAILED", "no trial reached the last rung in time", "raise wall_seconds or lower the budget")


def training_job(spec: SearchSpec, trial: Trial, rung: int, workspace: Path) -> TrainJob:
    """The job that trains a trial to the end of a rung, and that names its checkpoint ever after."""
    return TrainJob(
        trial.number,
        rung,
        spec.space,
        trial.architecture,
        spec.dataset,
        spec.rungs[rung - 1].epochs,
        spec.rungs[-1].epochs,
        spec.training,
        spec.seed,
        workspace / "trials" / str(trial.number),
    )
