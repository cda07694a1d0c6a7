"""Training queries that are asked at one time of their fact's interval, drawn in every epoch.

So TIMEPLEX is trained (Jain et al., 2020): a model that is asked for single years has learnt from single years.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from harness.models.batch import QueryTensors


@dataclass(frozen=True, eq=False)
class PointQueries(QueryTensors):
    """Queries whose ``time`` is that of the whole interval, and what gives them one of its times.

    ``first`` and ``last`` int64 [Q] are the ends of the intervals as models read them (`Timed.time_points`); ``view``
    makes of times [Q] what a model reads, int64 [Q, L].
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    view: Callable[[NDArray[np.int64]], NDArray[np.int64]]

    def in_epoch(self, seed: int) -> QueryTensors:
        """The queries with a time of their interval as start and end, every time as likely as any other."""
        drawn = np.random.default_rng(seed).integers(self.first, self.last, endpoint=True)
        time = torch.from_numpy(self.view(drawn)).to(self.time.device)
        return QueryTensors(self.subject, self.relation, time, self.answer)
