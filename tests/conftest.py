"""Fixtures that all tests share."""

from __future__ import annotations

import gc
import itertools
import os
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

import pytest

from harness.data import TemporalGraph, load
from harness.data.registry import SOURCES, find, search_path
from tests import postgresql as servers
from tests.encoder import write_encoder

# until all is imported (`pytest_collection_finish`): collections find no garbage in that, and take a tenth of the time
gc.disable()
#: fixtures of a session that take seconds to start
SERVERS = ("server", "postgresql")


@pytest.hookimpl(trylast=True)  # when what is not asked for is left out
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the longest tests in each worker, so that none of them runs alone at the end.

    A worker gets a block of what was collected, and steals from the end of others' when it is done. Those of one file
    go to one worker, which makes their fixtures once, all that compile to the first, which compiles a pass once, and
    all that ask a server (`SERVERS`) to one, which starts it once.
    """
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    together: dict[object, list[pytest.Item]] = {"compiles": []}
    short = list[pytest.Item]()
    for item in items:
        names = {marker.name for marker in item.iter_markers()}
        asked = [name for name in SERVERS if name in getattr(item, "fixturenames", ())]
        if asked or names & {"compiles", "long"}:
            together.setdefault("compiles" if "compiles" in names else (asked or [item.path])[0], []).append(item)
        else:
            short.append(item)
    groups, total, ordered = list(together.values()), len(items), list[pytest.Item]()
    for worker in range(workers):
        first = list(itertools.chain.from_iterable(groups[worker::workers]))
        size = max(0, (total - len(ordered)) // (workers - worker) - len(first))
        ordered += first + short[:size]
        short = short[size:]
    items[:] = ordered + short


def pytest_collection_finish() -> None:
    """Leave alone what is imported by now, millions of objects, at each of the garbage collections that follow."""
    gc.collect()
    gc.freeze()
    gc.enable()


@lru_cache(maxsize=4)
def _load(name: str) -> TemporalGraph:
    return load(name)


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], TemporalGraph]:
    """``real_data("wiki")`` is that data set; without its files the test skips, or fails if HARNESS_REQUIRE_DATA=1."""

    def graph(name: str) -> TemporalGraph:
        if name in SOURCES and find(name) is None:
            reason = f"the files of {name!r} are in none of: {', '.join(map(str, search_path()))}"
            if os.environ.get("HARNESS_REQUIRE_DATA") == "1":
                pytest.fail(f"{reason} (HARNESS_REQUIRE_DATA=1)")
            pytest.skip(reason)
        return _load(name)

    return graph


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sentence encoder with random weights."""
    return write_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="session")
def postgresql() -> Iterator[servers.Server]:
    """A PostgreSQL server, running; a test may stop and start it. Its user's password is in the environment."""
    programs = servers.programs()
    if programs is None:  # the package of the group dev that carries them has no wheel for this machine
        pytest.skip("PostgreSQL's server programs (initdb, pg_ctl) are not installed")
    with servers.server(programs) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGPASSWORD", server.password)
        yield server


@pytest.fixture
def blank_figures() -> Iterator[None]:
    """Figures of reports are files of their size with nothing on them."""
    from tests.blank import blank  # most tests need no matplotlib

    with blank():
        yield


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Studies end without their report, which takes longer than to train a few small students."""
    monkeypatch.setattr("harness.running.run.report_of_cells", lambda *_: Path("no report"))
