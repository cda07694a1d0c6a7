"""What was published of full-size models."""

from __future__ import annotations

from typing import Any

import pandas as pd

from harness.reporting.data.frames import records
from harness.reporting.output.typst import templates


def published_figures(dataset: str) -> list[dict[str, Any]]:
    """What was published of full-size models on the data set; ``protocol`` is NaN where it is not known for sure.

    ``bytes_entity`` is of 32-bit numbers, counted from the authors' code: two vectors of 200 for TIMEPLEX, two of 500
    for TeRo, five of 500 and a number for ATiSE; NaN where it was not looked up.
    """
    frame = pd.read_csv(templates() / "published_figures.csv")
    return records(frame[frame["dataset"] == dataset])
