"""optuna-dashboard as people open it, on a store that small studies have made: a process of its own, and Chromium."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.place import Place

#: characters of an attribute, of which optuna-dashboard makes a line that it does not break
WIDEST = 200
NAMES = ["ablation-toy-quick", "ablation-toy-quick-teachers", "sweep-toy-quick", "sweep-toy-quick-seeds"]
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Place:
    """A folder in which an ablation and a search have run."""
    place = Place(tmp_path_factory.mktemp("dashboard"), tiny_encoder, **{"student.epochs": 4})
    at = place.options.index("stage1_epochs=1")  # which the search varies
    for study, options in (("ablation", place.options), ("sweep", place.options[: at - 1] + place.options[at + 1 :])):
        done = place(study, "--preset", "quick", "--seeds", "2", *options)
        assert done.returncode == 0, done.stderr
    return place


@pytest.fixture(scope="module")
def where(place: Place) -> Iterator[str]:
    """The address of a dashboard on it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).with_name("optuna-dashboard")
    words = [str(program), "--port", str(port), "--artifact-dir", "runs/artifacts", place.url]
    process = subprocess.Popen(words, cwd=place.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api/studies", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


def asked(where: str, path: str) -> Any:
    with urllib.request.urlopen(f"{where}{path}", timeout=60) as answer:
        return json.load(answer)


def pages(where: str) -> dict[str, dict[str, Any]]:
    """What each study's page shows, by name without the digest."""
    studies = asked(where, "/api/studies")["study_summaries"]
    by_name = {study["study_name"]: asked(where, f"/api/studies/{study['study_id']}?after=0") for study in studies}
    return {re.sub("-[0-9a-f]{8}", "", name): page for name, page in by_name.items()}


def choices(factor: dict[str, Any]) -> list[str] | tuple[float, float, bool]:
    about = factor["distribution"]
    if "choices" in about:
        return sorted(choice["value"] for choice in about["choices"])
    return about["low"], about["high"], about.get("log", False)


@pytest.mark.slow
def test_the_pages_show_what_was_varied_as_it_was_searched(where: str) -> None:
    shown = pages(where)
    assert list(shown) == NAMES
    assert all(page["note"]["body"].startswith("# ") for page in shown.values())
    factors = {name: {f["name"]: choices(f) for f in page["union_search_space"]} for name, page in shown.items()}
    assert factors["ablation-toy-quick"] == {
        "arm": ["L1", "L1+L2", "L1+L2+L3", "L1+L3", "none"],
        "backbone": ["ta-distmult", "ttranse"],
        "seed": (0, 1, False),
    }
    assert factors["sweep-toy-quick"] == {
        "backbone": ["ta-distmult", "ttranse"],
        "loss.alpha": (0.01, 10.0, True),
        "loss.beta": (0.001, 10.0, True),
        "loss.delta": (0.01, 10.0, True),
        "loss.temperature": (1, 20, True),
        "student.stage1_epochs": (0, 4, False),
    }
    students = shown["ablation-toy-quick"]
    (best,) = students["best_trials"]
    assert best["values"][0] == max(trial["values"][0] for trial in students["trials"])
    search = shown["sweep-toy-quick"]
    assert len(search["trials"]) == 6
    assert all(len(trial["intermediate_values"]) <= 2 for trial in search["trials"])
    for name, page in shown.items():
        for trial in page["trials"]:
            # "spec" is as long as a trial differs from the first of its study, here by a path as well
            lengths = {one["key"]: len(one["value"]) for one in trial["user_attrs"] if one["key"] != "spec"}
            assert max(lengths.values()) <= WIDEST, (name, lengths)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_a_browser_shows_the_best_trial(where: str, tmp_path: Path) -> None:
    studies = asked(where, "/api/studies")["study_summaries"]
    study = next(s for s in studies if re.fullmatch("ablation-toy-quick-[0-9a-f]{8}", s["study_name"]))
    best = asked(where, f"/api/studies/{study['study_id']}?after=0")["best_trials"][0]
    words = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    words += [f"--user-data-dir={tmp_path}", "--virtual-time-budget=20000", "--dump-dom"]
    page = f"{where}/dashboard/studies/{study['study_id']}"
    environment = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run([*words, page], capture_output=True, text=True, timeout=200, env=environment)
    text = re.sub("<[^>]+>", " ", done.stdout)
    assert study["study_name"] in text
    assert f"Best Trial (number={best['number']})" in text
    assert re.search(r"arm: (none|L1)", text)


@pytest.mark.slow
def test_the_command_line_of_optuna_lists_them(place: Place) -> None:
    program = Path(sys.executable).with_name("optuna")
    words = [str(program), "studies", "--storage", place.url, "--format", "json"]
    listed = json.loads(subprocess.run(words, cwd=place.folder, capture_output=True, text=True, check=True).stdout)
    assert [re.sub("-[0-9a-f]{8}", "", study["name"]) for study in listed] == NAMES
