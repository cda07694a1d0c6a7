"""A study file with a search, and carrying it out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from harness.design import cells
from harness.design.cells import Run
from harness.design.schema import Design
from harness.engine import coordinator as execute
from harness.engine.coordinator import Tally
from harness.store import frames
from harness.store.store import Store
from harness.trial.inputs import graph_of
from harness.trial.stages import Context
from tests.inside import no_workers


def plan(design: Design, dataset: Path, **options: Any) -> Run:
    digest = graph_of(str(dataset), None).digest
    wanted = {"dataset": str(dataset), "data_digest": digest, "backbones": ["ttranse"], "preset": "quick"} | options
    return cells.plan(design, **wanted)


def carry_out(run: Run, folder: Path) -> Tally:
    """Do all that is missing, in this process."""
    graph = graph_of(run.dataset, None)
    plans = execute.plans(run.specs, graph.digest, "cpu")
    store, context = Store(f"sqlite:///{folder}/harness.db"), Context(folder / "cache")
    with no_workers():
        return execute.execute(run, plans, graph, store, context, 1, "command", Console(quiet=True))


def load(run: Run, folder: Path) -> tuple[pd.DataFrame, pd.DataFrame, Any]:
    return frames.load(f"sqlite:///{folder}/harness.db", "mine", run.dataset)
