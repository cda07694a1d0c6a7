"""Carry out a run: what is wanted minus what is complete, on the pool, into the store."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
from optuna.exceptions import StorageInternalError
from optuna.trial import Trial
from rich.console import Console
from rich.markup import escape

from harness.console import printable
from harness.data import TemporalGraph, Timeline
from harness.design.cells import Run
from harness.engine import scheduler as pool
from harness.engine.costs import Sizes, cost_of
from harness.engine.forecast import STARTING, Forecast
from harness.engine.local_workers import LocalWorkers, Workers
from harness.engine.progress import StudyProgress
from harness.engine.rates import Seen
from harness.engine.scheduler import Claim
from harness.engine.task import Outcome, Task
from harness.errors import UserError
from harness.scratch import scratch
from harness.search.confirmation import Confirming
from harness.search.imagined import phases
from harness.search.searching import Searching
from harness.search.tuning import Tuning
from harness.store.database.urls import safe
from harness.store.files import queries
from harness.store.known import Known
from harness.store.records import ENVIRONMENT
from harness.store.reuse import adopt, adopt_searched, other_processors, refuse_mixing
from harness.store.store import TEMPORARY, Store
from harness.store.study import INTERRUPTED, StudyStore, open_study
from harness.trial.cache import Cache
from harness.trial.keys import Plan
from harness.trial.provenance import environment
from harness.trial.spec import TrialSpec
from harness.trial.stacks import group_of
from harness.trial.stages import Context

#: seconds between two attempts to lease a trial on which another coordinator works
ASKED = 2.0
#: a model has a vector a class of time; real data have some hundred
MOST_CLASSES = 100_000
#: the plan of each trial, by the trial's key
Plans = dict[str, Plan]


@dataclass
class Tally:
    """How many trials were there already, were added, and failed (with the reason of the first)."""

    before: int
    added: int = 0
    failed: int = 0
    reason: str = ""
    #: the keys of all trials that were wanted, those of a search included
    keys: set[str] = field(default_factory=set)
    #: what the tasks took, and of the clock the seconds that workers were busy with them, in all
    seen: list[Seen] = field(default_factory=list)
    busy: float = 0.0
    #: seconds of a core that the coordinator used while it waited for workers
    waiting: float = 0.0


def plans(specs: Sequence[TrialSpec], data_digest: str, device: str) -> Plans:
    """The plans of trials; nothing is written.

    Raises:
        UserError: a trial needs a language model whose weights are not there.
    """
    return {spec.key(): Plan.of(spec, data_digest, device) for spec in specs}


def refuse_too_many_classes(specs: Sequence[TrialSpec], graph: TemporalGraph) -> None:
    """Refuse settings that cut the time line into more classes than memory has room for.

    Raises:
        UserError: there are more than ``MOST_CLASSES``.
    """
    for cut in dict.fromkeys(spec.time for spec in specs):
        if (classes := Timeline.build(graph, cut.classes, cut.size).n_classes) > MOST_CLASSES:
            raise UserError(
                f"time.size={cut.size}: cuts the {graph.granularity}s of this data into {classes:,} classes, and "
                f"{MOST_CLASSES:,} are the most; give a larger one, or time.classes=frequency"
            )


def tasks(
    specs: Sequence[TrialSpec], plans: Plans, cache: Cache, unscored: Collection[str] = frozenset()
) -> list[Task]:
    """The trials and the shared stages that they lack; ``unscored`` trials leave test facts alone."""
    by_id: dict[str, Task] = {}
    for spec in specs:
        trial = spec.key()
        plan = plans[trial]
        for name, key in plan.keys.items():
            if key not in by_id and not cache.has(name, key):
                needs = frozenset(plan.keys_needed(name))
                reads = tuple((stage, other) for stage, other in plan.keys.items() if other in needs)
                by_id[key] = Task(key, spec, name, needs, reads, group_of(spec, name))
        needs, reads = frozenset(plan.keys.values()), tuple(plan.keys.items())
        by_id[trial] = Task(trial, spec, None, needs, reads, group_of(spec, None), trial not in unscored)
    return list(by_id.values())


def foresee(run: Run, plans: Plans, context: Context, known: Known, forecast: Forecast) -> Forecast:
    """Fill in what a run will take, of a search at most, where the store knows ``known``; nothing is written.

    ``plans`` has those of the run's trials.
    """
    ids, cache = set[str](), Cache(context.cache_dir)
    for wanted in phases(run, known):
        specs, unscored = [spec for spec, _ in wanted], {spec.key() for spec, is_scored in wanted if not is_scored}
        stages = {spec.key(): spec for spec in specs}
        planned = {
            key: plans.get(key) or Plan.of(spec, run.data_digest, context.device) for key, spec in stages.items()
        }
        todo = tasks(specs, planned, cache, unscored)
        forecast.phases.append([task for task in todo if task.id not in ids])
        ids |= {task.id for task in todo}
    return forecast


@dataclass
class _Coordinator:
    """Stores and shows what the pool does."""

    study: StudyStore
    progress: StudyProgress
    run: Run
    environment: dict[str, Any]
    tally: Tally
    searching: Searching | Confirming | Tuning
    sizes: Sizes
    trials: dict[str, Trial] = field(default_factory=dict)
    #: when a trial was refused, since another coordinator works on it
    refused: dict[str, float] = field(default_factory=dict)

    def claim(self, task: Task) -> Claim:
        """Whether a task may start, where several coordinators work on one study."""
        if not self.study.leases.shared or task.stage is not None or task.id in self.trials:
            return "mine"
        if time.monotonic() - self.refused.get(task.id, -ASKED) < ASKED:
            return "later"
        if not self.study.leases.take(task.id):
            self.refused[task.id] = time.monotonic()
            return "later"
        if (other := self.study.ended(task.id)) is None:
            return "mine"
        self.study.leases.free(task.id)
        self.tally.before += other.value is not None
        self.searching.record(task.id, other.value)
        self.progress.finish(task, "by another coordinator", other.value is None)
        return "elsewhere"

    def started(self, task: Task) -> None:
        self.progress.start(task)
        if task.stage is None and task.id not in self.trials:  # else its worker died, and it is tried again
            self.trials[task.id] = self._begin(task)

    def finished(self, task: Task, outcome: Outcome) -> pool.Settled:
        failed = outcome.failure is not None
        for warning in outcome.warnings:
            self.progress.console.print(f"[yellow]warning[/] {escape(printable(warning))}", highlight=False)
        if task.stage is None:
            trial = self.trials.pop(task.id, None) or self._begin(task)
            if outcome.result is not None:
                if not self.study.finish(trial, outcome.result):
                    return "elsewhere"
                self.tally.added += 1
                self.searching.record(task.id, outcome.result.metrics["valid_mrr"])
            else:
                self.study.fail(trial, str(outcome.failure), outcome.details)
                self.tally.failed += 1
                self.tally.reason = self.tally.reason or str(outcome.failure)
                self.searching.record(task.id, None)
        took = self.progress.finish(task, _note(outcome), failed)
        if not failed and outcome.worked:
            self.tally.seen.append(Seen(cost_of(task, self.sizes), outcome.worked, outcome.mib))
            self.tally.busy += took - outcome.starting
            if outcome.starting:
                self.tally.seen.append(Seen(STARTING, outcome.starting, outcome.mib))
        return "here"

    def _begin(self, task: Task) -> Trial:
        attributes = {
            ENVIRONMENT: self.environment,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "preset": self.run.preset,
            "protocol": task.spec.protocol,
            "data_digest": self.run.data_digest,
            "label": self.run.labels.get(task.id, task.spec.arm),
            **self.run.purposes.get(task.id, {}),
            **self.searching.attributes.get(task.id, {}),
        }
        return self.study.begin(task.spec, attributes)


def queries_of(run: Run, graph: TemporalGraph) -> pd.DataFrame:
    """What the study's ranks are of.

    Raises:
        UserError: some trials rank rows of protocol ``expanded``, and others something else.
    """
    ranked = {(spec.protocol, spec.time if spec.protocol == "expanded" else None) for spec in run.specs}
    if not any(protocol == "expanded" for protocol, _ in ranked):
        return queries.of_test(graph)
    if len(ranked) > 1:
        raise UserError(
            "protocol=expanded: ranks a fact once for each time class, which compares with nothing else; let all "
            "trials of the study have it, and the same time.size"
        )
    time = run.specs[0].time
    return queries.rows_of_test(graph, Timeline.build(graph, time.classes, time.size))


def _note(outcome: Outcome) -> str:
    if outcome.failure is not None:
        return outcome.failure
    if outcome.result is None:
        return f"{outcome.seconds:.1f} s"
    metrics = outcome.result.metrics
    test = f", {metrics['test_mrr']:.4f} on test" if "test_mrr" in metrics else ""
    return f"MRR {metrics['valid_mrr']:.4f} on validation{test}"


def execute(
    run: Run,
    plans: Plans,
    graph: TemporalGraph,
    store: Store,
    context: Context,
    jobs: int,
    command: str,
    console: Console,
    cluster: str | None = None,
    workers: Workers | None = None,
    forecast: Forecast | None = None,
) -> Tally:
    """Bring all wanted trials of a run into the store; return how it went.

    The work is done by ``jobs`` processes of this machine, or by the workers of ``cluster``, the address of a Dask
    scheduler, or by other ``workers``. What is to be done is filled into ``forecast``. After Ctrl-C or a user's error,
    the trials that were running are marked as failed, and what is complete stays; a second call goes on with what is
    missing.

    Raises:
        UserError: the store or the cache cannot be written, another coordinator writes to the store, or a worker met
            a user's error.
    """
    with store.errors_for_users(), store.only_writer(), scratch(TEMPORARY) as folder:
        study = open_study(store, run, command, counts(graph))
        study.attach(queries_of(run, graph))
        by_key = {spec.key(): spec for spec in run.specs}
        names = {key: run.labels[key] for key in by_key}
        here = environment(context)
        if adopted := adopt(study, names, {"preset": run.preset}, here):
            console.print(f"{adopted} trials are taken from other studies of this store, where they are the same")
        if run.search is not None and not study.leases.take("search"):
            raise UserError(
                f"storage {safe(store.url)}: another coordinator is at this search; wait for it, or start other studies"
            )
        if run.search is not None and (adopted := adopt_searched(study, {"preset": run.preset}, here)):
            console.print(f"{adopted} trials of other searches of this store are taken over: they lie inside this one")
        done = study.done()
        refuse_mixing(run.study_name, done, _open_formats(run, plans), here)
        if others := other_processors(done, here):
            where = escape(printable(" and ".join(others)))
            console.print(
                f"[yellow]warning[/] trials of this study ran on {where}; processors may change a trial's numbers "
                "nearly as much as seeds do, so compare arms that ran on one",
                highlight=False,
            )
        complete = {trial["cell"] for trial in done}
        wanted = [spec for key, spec in by_key.items() if key not in complete]
        tally = Tally(before=len(run.specs) - len(wanted), keys={*by_key})
        cache = Cache(context.cache_dir)
        todo = tasks(wanted, plans, cache, run.unscored)
        if forecast is not None:
            given_up = study.configurations.pruned() if study.configurations is not None else set()
            foresee(run, plans, context, Known(study.values(), study.searched(), given_up), forecast)
            if (price := forecast.teachers()) is not None:
                console.print(f"teachers: {price}", highlight=False)
        searching: Searching | Confirming | Tuning
        if run.search is not None:
            searching = Searching(run, study, tally.keys)
        else:
            searching = (Tuning if run.tune else Confirming)(run, study.values(), tally.keys)
        title = f"{run.design.name} · {Path(run.dataset).name}"
        progress = StudyProgress(title, todo, len(run.specs) + searching.most, tally.before, console)
        coordinator = _Coordinator(study, progress, run, here, tally, searching, Sizes.of(graph))

        def more(room: int) -> list[Task]:
            specs = searching.more(room)
            if specs and run.tune is not None:
                winners = {spec.key(): searching.attributes[spec.key()] for spec in specs}
                labels = {key: about["label"] for key, about in winners.items()}
                adopt(study, labels, {"preset": run.preset}, here, winners)
                complete = study.complete()
                specs = [spec for spec in specs if spec.key() not in complete]
            stages = {spec.key(): Plan.of(spec, graph.digest, context.device) for spec in specs}
            added = tasks(specs, stages, cache, searching.unscored)
            progress.add(added)
            return added

        calls = coordinator.started, coordinator.finished, progress.update
        listener = pool.Listener(*calls, partial(study.describe, run), more, coordinator.claim)
        began = time.process_time()
        try:
            with progress.shown(), contextlib.ExitStack() as closing:
                if cluster is not None:
                    from harness.engine.dask_workers import ClusterWorkers  # Dask is optional

                    workers = closing.enter_context(contextlib.closing(ClusterWorkers(cluster, context, graph.digest)))
                # local workers stay for the next call
                pool.run(todo, workers or LocalWorkers(jobs, context, folder), listener, context.stack)
            tally.waiting = time.process_time() - began
            study.fold()
        except BaseException:
            with contextlib.suppress(StorageInternalError):  # which may be what ended the run
                for trial in coordinator.trials.values():
                    study.fail(trial, INTERRUPTED, retry_timeout=0)
            raise
        finally:
            study.leases.close()
        return tally


def _open_formats(run: Run, plans: Plans) -> set[str]:
    """The arms whose language model is read in the number format that a machine chooses."""
    stages = {"encode", "rerank"}
    reading = [spec for spec in run.specs if spec.llm.dtype is None and stages & plans[spec.key()].keys.keys()]
    return {spec.arm for spec in reading} | ({run.search.arm} if reading and run.search is not None else set())


def counts(graph: TemporalGraph) -> dict[str, int]:
    """Sizes of a data set by what is counted."""
    facts = {"training facts": graph.train, "validation facts": graph.valid, "test facts": graph.test}
    sizes = {name: len(split) for name, split in facts.items()}
    return {**sizes, "entities": len(graph.entities), "relations": len(graph.relations)}


def default_jobs(device: str) -> int:
    """A worker a core this process may use; one on a GPU, which a single one fills."""
    return joblib.cpu_count() if device == "cpu" else 1


def default_stack(device: str) -> int:
    """How many students a worker trains side by side: one on a CPU, which has no room for more."""
    return 1 if device == "cpu" else 32
