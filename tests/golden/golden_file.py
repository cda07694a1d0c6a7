"""The file of golden numbers: a set for each kind of machine; other kinds are compared with the first, roughly."""

from __future__ import annotations

import json
import math
from pathlib import Path

from harness.distill.losses import LOSSES
from harness.measurements.measure import VERSIONS as MEASUREMENTS
from harness.models import BACKBONES
from harness.teachers.sources import TEACHERS
from harness.trial.keys import STAGES
from harness.trial.shared.stage import ENGINE
from tests.golden.cases import Numbers

#: where they are; a set of numbers by the kind of machine and part
FILE = Path(__file__).with_name("golden.json")
#: on another kind of machine rounding differs, and training magnifies it
TOLERANCE = {"mr": 0.15, "loss": 0.1, "mean size": 0.1, "default": 0.06}


def read() -> dict[str, dict[str, dict[str, Numbers]]]:
    """Golden numbers: by part, kind of machine, case and name."""
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}


def versions() -> dict[str, int]:
    """The versions by which the harness knows what computes."""
    methods = {
        f"{registry.kind} {name}": registry[name].version
        for registry in (STAGES, BACKBONES, LOSSES, TEACHERS)
        for name in registry
        if registry.origin(name) is None
    }
    measurements = {f"measurement {name}": version for name, version in MEASUREMENTS.items()}
    return {"engine": ENGINE, **methods, **measurements}


def write(part: str, machine: str, numbers: dict[str, Numbers]) -> None:
    """Put the numbers of this kind of machine in the place of those that were there.

    Raises:
        ValueError: numbers moved and no version did.
    """
    known = read()
    before = known.setdefault(part, {}).get(machine)
    moved = before is not None and any(before[case] != numbers.get(case) for case in before)
    if moved and known.get("versions") == versions():
        raise ValueError(
            f"{part}: numbers moved, but no version did; raise that of the stage or engine that moved them"
        )
    known[part][machine] = numbers
    # the one part of the file that has no kinds of machine
    known["versions"] = versions()  # type: ignore[assignment]
    FILE.write_text(json.dumps(known, indent=0, sort_keys=True) + "\n", encoding="utf-8")


def differences(part: str, machine: str, numbers: dict[str, Numbers]) -> list[str]:
    """What is not as it was, a line each: to the last bit on a kind of machine that has numbers here, else roughly."""
    known = read()[part]
    exact = machine in known
    golden = known[machine] if exact else next(iter(known.values()))
    actual = [f"{case}: was there, and is not" for case in golden.keys() - numbers.keys()]
    for case, mine in numbers.items():
        if case not in golden:
            actual.append(f"{case}: is new")
            continue
        for name, value in mine.items():
            before = golden[case].get(name)
            if (value != before) if exact else not _alike(name, value, before):
                actual.append(f"{case}: {name} was {before}, is {value}")
    return actual


def _alike(name: str, value: float | str, before: float | str | None) -> bool:
    if isinstance(value, str) or isinstance(before, str):
        return isinstance(value, str) and isinstance(before, str)
    if before is None:
        return False
    kind = "mr" if name.endswith("mr") else name
    bound = TOLERANCE.get(kind, TOLERANCE["default"])
    return math.isclose(value, before, rel_tol=bound if kind in TOLERANCE else 0, abs_tol=TOLERANCE["default"])
