"""A dry run writes nothing and counts what the run then does."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from pathlib import Path

import pytest

from harness.engine.coordinator import Tally
from harness.engine.forecast import STARTING, Forecast
from harness.running import run as running
from tests.inside import Here

SEARCH = """\
name: mine
title: A search
about: Two configurations.
report: sensitivity
arms: [L1]
search:
  arm: L1
  sampler: SAMPLER
  trials: 2
  confirm: 1
  factors:
    loss.temperature: {low: 1, high: 8}
    student.learning_rate: {low: 0.01, high: 0.1, log: true}
backbone: ttranse
presets:
  default: {about: of a test, seeds: 1}
"""
GRID = """\
name: mine
title: A grid
about: Its best points get confirmation runs.
report: sensitivity
confirm: 1
arms: [L1, L1+L2]
grid: {loss.alpha: [0.1, 1.0]}
backbone: ttranse
presets:
  default: {about: of a test, seeds: 1}
"""
TUNED = """\
name: mine
title: Every arm tuned
about: Two configurations an arm.
arms: [none, L1]
tune: {trials: 2, space: {all: {student.learning_rate: {low: 0.001, high: 10.0, log: true}}}}
compare: {none: [L1]}
backbone: ttranse
presets:
  default: {about: of a test, seeds: 2}
"""

pytestmark = pytest.mark.usefixtures("no_report")


@pytest.fixture
def here(tmp_path: Path, tiny_encoder: Path) -> Here:
    return Here(tmp_path, tiny_encoder)


def content(folder: Path) -> dict[str, str]:
    """All that lies in a folder, with digests of files."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts
    }


def dry(here: Here, *command: str) -> tuple[Counter[str], Counter[str], str]:
    """The trials and stages that are there and to do, and the text of a dry run, which writes nothing."""
    before = content(here.folder)
    shown = here(*command, "--dry-run")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert content(here.folder) == before
    counts = {"trials": (0, 0), "stages": (0, 0)}
    part = "trials"
    for line in shown.stdout.splitlines():
        part = "stages" if line.startswith("stages") else part
        if row := re.match(r"  \S.*?\s{2,}(\d+)\s+(\d+)(\s|$)", line):
            there, todo = counts[part]
            counts[part] = there + int(row[1]), todo + int(row[2])
    (trials, trials_todo), (stages, stages_todo) = counts["trials"], counts["stages"]
    return Counter(there=trials, todo=trials_todo), Counter(there=stages, todo=stages_todo), shown.stdout


def done(text: str) -> tuple[int, int]:
    """How many trials and stages a run did."""
    lines = [line for line in text.splitlines() if line.startswith("done")]
    trials = sum(line.startswith("done trial") for line in lines)
    return trials, len(lines) - trials


@pytest.mark.long
def test_counts_are_those_of_the_run_and_nothing_is_written(here: Here) -> None:
    command = ["ablation", "--preset", "quick", *here.options]
    trials, stages, text = dry(here, *command)
    assert trials == {"there": 0, "todo": 7}
    assert stages["there"] == 0
    assert "about" in text  # nothing was measured
    run = here(*command)
    assert run.returncode == 0, run.stderr
    assert done(run.stdout) == (trials["todo"], stages["todo"])

    assert dry(here, *command)[:2] == ({"there": 7, "todo": 0}, {"there": stages["todo"], "todo": 0})
    trials, stages, text = dry(here, *command, "--seeds", "2")
    assert trials == {"there": 7, "todo": 5}
    assert stages["todo"] == 2  # stage 1 of two kinds of arms
    assert "about" not in text  # all of it was measured by now
    assert "2 workers" in text
    run = here(*command, "--seeds", "2")
    assert done(run.stdout) == (5, 2)

    # trials of another study count as there, as they are taken over
    trials, stages, _ = dry(here, "baselines", "--preset", "quick", "--arms", "none,L1,L1+FitNet", *here.options)
    assert (trials, stages["todo"]) == ({"there": 2, "todo": 1}, 0)
    # another cache: all stages are to be made, of trials that are complete none
    trials, stages, _ = dry(here, *command, "--seeds", "3", "--cache-dir", "other")
    assert trials == {"there": 12, "todo": 5}
    assert stages == {"there": 0, "todo": 8}


@pytest.mark.parametrize("study", [SEARCH.replace("SAMPLER", "qmc"), SEARCH.replace("SAMPLER", "tpe"), GRID, TUNED])
def test_counts_of_what_results_decide(here: Here, study: str) -> None:
    (here.folder / "mine.yaml").write_text(study, encoding="utf-8")
    options = list(here.options)
    command = ["run", "mine.yaml", *options]
    trials, stages, text = dry(here, *command)
    assert trials["there"] == 0
    run = here(*command)
    assert run.returncode == 0, run.stderr
    ran, made = done(run.stdout)
    assert ran == trials["todo"]
    assert made <= stages["todo"]  # a search may choose temperatures twice
    assert ("at most" in text) == ("search:" in study)
    trials, stages, _ = dry(here, *command)
    assert (trials["todo"], stages["todo"]) == (0, 0)


def test_a_study_that_decides_shows_its_first_look_and_the_most(here: Here) -> None:
    trials, _, text = dry(here, "ablation", "--preset", "quick", "--arms", "none,L1", *here.options, "--decide")
    assert trials["todo"] == 6
    assert re.search(r"that is the first look, 3 seeds; at most .* \(20 seeds, 40 trials\)", text)


def test_mistakes_end_a_dry_run_as_they_end_a_run(here: Here) -> None:
    (here.folder / "no.db").write_bytes(b"no database" * 100)
    for wrong, line in (
        (["--arms", "L9"], "has no arm 'L9'"),
        (["--storage", "sqlite:///no.db"], "storage sqlite:///no.db"),
        (["--seeds", "2", "--decide"], "--seeds: with --decide"),
    ):
        before = content(here.folder)
        run = here("ablation", *here.options, *wrong, "--dry-run")
        assert run.returncode == 2
        assert line in run.stderr
        assert run.stderr.count("\n") == 1
        assert content(here.folder) == before


def test_a_long_run_ends_with_its_forecast_and_its_error(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["ablation", "--preset", "quick", "--arms", "none,L1", *here.options]
    assert "forecast" not in here(*command).stdout
    monkeypatch.setattr(running.Watch, "SHOWN", 0.0)
    run = here(*command, "--seeds", "2")
    assert re.search(r"^forecast [\d.]+ s, took [\d.]+ s \([+−]\d+ %\)", run.stdout, re.MULTILINE)
    assert (here.folder / "runs/cache/rates.json").is_file()


@pytest.mark.slow
def test_a_second_run_takes_what_the_first_one_taught(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["ablation", "--preset", "quick", *here.options]
    here(*command)  # what is compiled once a process is behind it
    here(*command, "--seeds", "6")
    watched: list[tuple[Forecast, Tally]] = []
    monkeypatch.setattr(running.Watch, "add", lambda _, forecast, tally: watched.append((forecast, tally)))
    here(*command, "--seeds", "12")
    ((forecast, tally),) = watched
    expected = sum(forecast.cost(task).seconds for task in forecast.tasks)
    worked = sum(seen.seconds for seen in tally.seen if seen.cost is not STARTING)
    assert expected / 2 < worked < 2 * expected


def test_a_file_of_rates_that_cannot_be_read_is_named(here: Here) -> None:
    (here.folder / "runs/cache").mkdir(parents=True)
    (here.folder / "runs/cache/rates.json").write_text("[")
    text = dry(here, "ablation", *here.options)[2]
    # the path of the file may break anywhere
    assert "rates.jsoncannotberead(JSONDecodeError):leftaside" in "".join(text.split())
