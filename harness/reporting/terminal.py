"""The result of a study as a table on the terminal."""

from __future__ import annotations

import pandas as pd
from rich.markup import escape
from rich.table import Table

from harness.reporting.frames import validate_trials
from harness.reporting.labels import ARMS, BACKBONES, DATASETS, MEASURES, REFERENCES, ordered
from harness.reporting.text import number
from harness.stats import mean_interval


def table(trials: pd.DataFrame) -> Table:
    """Test results of each arm: mean and, from two seeds on, half of the 95 % t interval over seeds.

    Raises:
        UserError: the trials do not pass `validate_trials`.
    """
    current = validate_trials(trials)
    dataset = str(current["dataset"].iloc[0])
    shown = Table(
        title=f"Test results on {escape(DATASETS.get(dataset, dataset))}",
        caption="mean ± half of the 95 % interval over n seeds",
        title_justify="left",
        caption_justify="left",
    )
    shown.add_column("backbone")
    shown.add_column("arm")
    shown.add_column("n", justify="right")
    for measure in MEASURES:
        shown.add_column(measure.label, justify="right")
    for backbone in ordered(current["backbone"], BACKBONES):
        own = current[current["backbone"] == backbone]
        arms = ordered(own["arm"], ARMS)
        for i, arm in enumerate(arms):
            group = own[own["arm"] == arm]
            done = group[group["state"] == "complete"]
            failed = int((group["state"] == "failed").sum())
            cells = [_mean(done[f"test_{m.key}"].tolist(), m.decimals) for m in MEASURES] if len(done) else []
            n = f"{len(done)} ({failed} failed)" if failed else str(len(done))
            last = i + 1 == len(arms) or (arm not in REFERENCES and arms[i + 1] in REFERENCES)
            shown.add_row(
                escape(BACKBONES.get(backbone, backbone)) if i == 0 else "", ARMS[arm], n, *cells, end_section=last
            )
    return shown


def _mean(values: list[float], decimals: int) -> str:
    interval = mean_interval(values)
    text = number(interval.estimate, decimals)
    return text if interval.n < 2 else f"{text} ± {number(interval.high - interval.estimate, decimals)}"
