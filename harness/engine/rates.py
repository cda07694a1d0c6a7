"""What tasks took on this machine, in a small file of the cache folder that forecasts read.

A rate is what a task took over what `harness.engine.costs` says. Seconds are those that a core worked, which other
programs on the machine do not change; on a GPU they are those of the clock.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import torch
from pydantic import Field, ValidationError

from harness.engine.costs import Cost
from harness.registry import Frozen
from harness.scratch import write_atomically
from harness.trial.provenance import provenance

FILE = "rates.json"
#: goes up when rates of before would mislead, as when the costs that they are relative to change much
VERSION = 1
#: rates that are kept: the newest
KEPT = 400
#: how far two tasks are apart, in natural logarithms of their costs, for another method, a loss more, or other data
METHOD, LOSS, DATA = 3.0, 1.0, 1.0
#: seconds of a core that a step of `speed` takes where rates are about 1
STEP = 0.034


class Rate(Frozen):
    """What tasks that are alike took: ``seconds`` where their settings say ``estimate``, and the most MiB over what
    these say. The rest is as of `harness.engine.costs.Cost`."""

    kind: str
    method: str
    parts: tuple[str, ...]
    data: str
    device: str
    estimate: float = Field(gt=0, allow_inf_nan=False)
    seconds: float = Field(gt=0, allow_inf_nan=False)
    memory: float = Field(gt=0, allow_inf_nan=False)

    @property
    def alike(self) -> tuple[object, ...]:
        """What it shares with the rates in whose place it steps."""
        return self.kind, self.method, self.parts, self.data, self.device, round(4 * math.log(self.estimate))


@dataclass(frozen=True)
class Seen:
    """A task that was done: its cost by its settings, the seconds that a core worked, and the MiB of its worker."""

    cost: Cost
    seconds: float
    mib: float


class Rates:
    """The rates of this machine on one device; ``note`` says why a file of rates was left aside, "" if none was."""

    def __init__(self, device: str, rates: Iterable[Rate] = (), note: str = "") -> None:
        self.device, self.rates, self.note = device, list(rates), note
        self._speed: float | None = None
        self._nearest: dict[tuple[object, ...], Rate | None] = {}

    @classmethod
    def read(cls, folder: Path, device: str) -> Rates:
        """Those of a cache folder. A file that is damaged, newer, older, or of another machine counts for nothing."""
        path = folder / FILE
        try:
            content = json.loads(path.read_bytes())
            if content["version"] != VERSION:
                return cls(device, note=f"{path} is of version {content['version']}, this one reads {VERSION}")
            if content["machine"] != provenance()["machine"]:
                return cls(device, note=f"{path} is of another machine")
            return cls(device, [Rate.model_validate_json(json.dumps(rate)) for rate in content["rates"]])
        except FileNotFoundError:
            return cls(device)
        except (OSError, ValueError, KeyError, TypeError, RecursionError, ValidationError) as error:
            return cls(device, note=f"{path} cannot be read ({type(error).__name__})")

    def write(self, folder: Path, seen: Iterable[Seen]) -> None:
        """Add what was seen to the file of a cache folder; it is no loss where it cannot be written."""
        groups: dict[tuple[object, ...], list[Rate]] = {}
        for one in seen:
            if one.seconds > 0 and one.mib > 0:
                rate = _rate(one, self.device)
                groups.setdefault(rate.alike, []).append(rate)
        known = {rate.alike: rate for rate in Rates.read(folder, self.device).rates}  # another run may have added some
        for alike, rates in groups.items():
            of_run = rates[0].model_copy(
                update={
                    "estimate": median(rate.estimate for rate in rates),
                    "seconds": median(rate.seconds for rate in rates),
                    "memory": min(rate.memory for rate in rates),  # a process never forgets the most that it held
                }
            )
            known[alike] = _both(known.pop(alike, None), of_run)
        if groups:
            rates = [json.loads(rate.model_dump_json()) for rate in known.values()][-KEPT:]
            content = {"version": VERSION, "machine": provenance()["machine"], "rates": rates}
            try:
                write_atomically(folder / FILE, json.dumps(content, indent=0).encode(), sync=False)
            except OSError:
                return

    def of(self, cost: Cost) -> Cost:
        """What a task costs here: its cost by its settings times the nearest rate."""
        nearest = self.nearest(cost)  # remembered: a study has thousands of trials that are alike
        if nearest is not None:
            factor = nearest.seconds / nearest.estimate
            return replace(cost, seconds=cost.seconds * factor, mib=cost.mib * nearest.memory)
        return replace(cost, seconds=cost.seconds * self.speed())

    def nearest(self, cost: Cost) -> Rate | None:
        """The rate of the task of this kind that is most like this one; None without any."""
        alike = cost.kind, cost.method, cost.parts, cost.data, round(cost.seconds, 2)
        if alike not in self._nearest:
            rates = (rate for rate in self.rates if (rate.kind, rate.device) == (cost.kind, self.device))
            self._nearest[alike] = min(rates, key=lambda rate: _distance(rate, cost), default=None)
        return self._nearest[alike]

    def speed(self) -> float:
        """The rate of a kind that was never seen: the median of all; without any, measured in about half a second."""
        if self._speed is None:
            known = [rate.seconds / rate.estimate for rate in self.rates if rate.device == self.device]
            self._speed = median(known) if known else step_seconds(self.device) / STEP
        return self._speed


def _rate(seen: Seen, device: str) -> Rate:
    cost = seen.cost
    return Rate(
        kind=cost.kind,
        method=cost.method,
        parts=cost.parts,
        data=cost.data,
        device=device,
        estimate=cost.seconds,
        seconds=seen.seconds,
        memory=seen.mib / cost.mib if cost.mib else 1.0,
    )


def _both(old: Rate | None, new: Rate) -> Rate:
    """The mean of a rate and a newer one."""
    if old is None:
        return new
    seconds = (old.seconds / old.estimate + new.seconds / new.estimate) / 2 * new.estimate
    return new.model_copy(update={"seconds": seconds, "memory": min(old.memory, new.memory)})


def _distance(rate: Rate, cost: Cost) -> float:
    apart = abs(math.log(rate.estimate / cost.seconds)) + LOSS * len({*rate.parts} ^ {*cost.parts})
    return apart + METHOD * (rate.method != cost.method) + DATA * (rate.data != cost.data)


def step_seconds(device: str) -> float:
    """Seconds of a step of exact training, median of some: scores of all entities, their softmax, gradients."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    query = torch.zeros(512, 25, device=device, requires_grad=True)
    table = torch.zeros(12_554, 25, device=device, requires_grad=True)
    answer = torch.zeros(512, dtype=torch.int64, device=device)
    clock, seconds = (time.perf_counter if device == "cuda" else time.process_time), []
    for _ in range(7):
        began = clock()
        torch.nn.functional.cross_entropy(query @ table.T, answer).backward()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(clock() - began)
    torch.set_num_threads(threads)
    return median(seconds)
