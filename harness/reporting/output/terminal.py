"""The result of a study as a table on the terminal."""

from __future__ import annotations

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from harness.reporting.data.frames import validate_trials
from harness.reporting.data.layout import Layout
from harness.reporting.data.text import number
from harness.stats import mean_interval
from harness.vocabulary import (
    BACKBONES,
    METRICS,
    REFERENCES,
    Metric,
    arm_name,
    backbone_name,
    dataset_name,
    ordered,
)


def table(trials: pd.DataFrame, layout: Layout) -> Table:
    """Test results of each arm as means over seeds, MRR with half of its 95 % t interval from two seeds on.

    Fits into 80 columns; the report has the other intervals.

    Raises:
        UserError: the trials do not pass `validate_trials`.
    """
    current = validate_trials(trials)
    dataset = str(current["dataset"].iloc[0])
    shown = Table(
        title=f"Test results on {escape(dataset_name(dataset))}",
        caption="means over n seeds; ±: half of the 95 % interval over seeds",
        box=SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        collapse_padding=True,
        title_justify="left",
        caption_justify="left",
    )
    shown.add_column("arm")  # of all columns the one that may take more lines
    shown.add_column("n", no_wrap=True)
    for measure in METRICS:
        shown.add_column(measure.label, justify="right", no_wrap=True)
    for backbone in ordered(current["backbone"], BACKBONES):
        own = current[current["backbone"] == backbone]
        shown.add_section()
        shown.add_row(f"[bold]{escape(backbone_name(backbone))}[/bold]")
        for arm in layout.order(own["arm"]):
            group = own[own["arm"] == arm]
            done = group[group["state"] == "complete"]
            failed = int((group["state"] == "failed").sum())
            cells = [_mean(done[f"test_{measure.key}"].tolist(), measure) for measure in METRICS] if len(done) else []
            style = "dim" if arm in REFERENCES else None
            shown.add_row(
                escape(arm_name(arm)), f"{len(done)} of {len(group)}" if failed else str(len(done)), *cells, style=style
            )
    return shown


def _mean(values: list[float], measure: Metric) -> str:
    interval = mean_interval(values)
    text = number(interval.estimate, measure.decimals)
    if measure.key != "mrr" or interval.n < 2:
        return text
    return f"{text} ±{number(interval.high - interval.estimate, measure.decimals)}"
