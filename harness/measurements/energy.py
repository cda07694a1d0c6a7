"""Energy by codecarbon (https://codecarbon.io), where it is installed and the machine has counters that it can read."""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

#: what codecarbon reads counters through: module, and its function that tells whether it can
_COUNTERS = (
    ("codecarbon.core.cpu", "is_rapl_available"),
    ("codecarbon.core.cpu", "is_powergadget_available"),
    ("codecarbon.core.powermetrics", "is_powermetrics_available"),
)


@dataclass
class Energy:
    """Watt hours that the machine used, or why they could not be read."""

    wh: float = math.nan
    reason: str = ""

    @property
    def row(self) -> dict[str, Any]:
        """As JSON values: ``energy_wh``, None where it could not be read, and ``energy_reason``."""
        return {"energy_wh": None if math.isnan(self.wh) else self.wh, "energy_reason": self.reason}


def unreadable() -> str:
    """Why energy cannot be read here; "" where it can.

    Without counters codecarbon multiplies a power that it assumes by the time, which is no measurement.
    """
    try:
        importlib.import_module("codecarbon")
    except ImportError:
        return "the optional package codecarbon is not installed"
    for name, function in _COUNTERS:
        try:
            if getattr(importlib.import_module(name), function)():
                return ""
        except (ImportError, AttributeError, OSError):  # not of this version, or of another system
            continue
    return "the machine lets no process read the processor's energy counters"


@contextmanager
def metered() -> Iterator[Energy]:
    """Yield what the block's energy is written to when it ends; no file is written, and no network is used."""
    found = Energy(reason=unreadable())
    if found.reason:
        yield found
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tracker = importlib.import_module("codecarbon").OfflineEmissionsTracker(
            country_iso_code="USA",  # of no matter: only emissions depend on it
            measure_power_secs=1,
            save_to_file=False,
            allow_multiple_runs=True,
            log_level="critical",
        )
        tracker.start()
        try:
            yield found
        finally:
            tracker.stop()
            found.wh = 1000 * float(tracker.final_emissions_data.energy_consumed)
