"""Processes of this machine: plugins that they load, and what is used of loky's insides."""

from __future__ import annotations

import os
import re
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from queue import Queue

import numpy as np
import pytest
from joblib.externals.loky import ProcessPoolExecutor, process_executor
from numpy.typing import NDArray

from harness import plugins
from harness.engine.local_workers import LocalWorkers, executor, exit_codes, in_a_fresh_process
from harness.engine.task import Task
from harness.errors import UserError
from harness.registry import Registry
from harness.trial.spec import TrialSpec
from harness.trial.stages import Context
from tests.engine.plugin import plugin, registered

ROOT = Path(__file__).parents[2]


_held: list[NDArray[np.float64]] = []


def _hold(mib: int) -> int:
    """Keep memory beyond the call, after which loky looks at it; the worker's process id."""
    process_executor._MEMORY_LEAK_CHECK_DELAY = 0.0  # seconds, of which it lets one go by
    _held.append(np.ones(mib * 2**17))
    return os.getpid()


@pytest.mark.long
def test_workers_load_plugins_stay_though_they_grow_and_start_anew_when_plugins_change(tmp_path: Path) -> None:
    old, new = (plugin(tmp_path, version) for version in (1, 2))
    first = executor(1, (old,)).submit(os.getpid).result()
    assert executor(1, (old,)).submit(os.getpid).result() == first
    assert executor(1, (old,)).submit(registered).result() == {"version": 1}
    # loky replaces a worker that has grown by 300 MB since its first call, unless told otherwise
    assert [executor(1, (old,)).submit(_hold, mib).result() for mib in (1, 310, 1)] == [first] * 3
    workers = executor(1, (new,))
    assert workers.submit(registered).result() == {"version": 2}
    workers.shutdown(wait=True, kill_workers=True)


def test_a_plugin_that_fails_in_a_worker_alone_ends_with_one_line(
    spec: TrialSpec, context: Context, tmp_path: Path
) -> None:
    path = tmp_path / "here.py"
    path.write_text(f"import os\nif os.getpid() != {os.getpid()}:\n    raise OSError('no such place')\n")
    workers = LocalWorkers(1, replace(context, plugins=(plugins.read(path),)), tmp_path)
    with pytest.raises(
        UserError, match=r"plugin .*here\.py: fails when it is loaded, line 3 \(OSError: no such place\)"
    ):
        workers.submit([Task("none", spec)]).result()
    workers.close()


def test_a_fresh_process_has_the_plugins_of_this_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_loaded", {})
    monkeypatch.setattr(Registry, "every", [])
    plugins.load([plugin(tmp_path, 3)])
    assert in_a_fresh_process(registered) == registered() == {"version": 3}


def test_the_pinned_loky_has_what_is_used_of_its_insides() -> None:
    """When this fails after an update: see whether `harness.engine.local_workers` still does what it says."""
    pinned = re.search(r"^joblib==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert pinned is not None
    assert pinned[1] == metadata.version("joblib") == "1.6.0"
    assert isinstance(process_executor._MAX_MEMORY_LEAK_SIZE, int)
    pool = ProcessPoolExecutor(max_workers=1)
    try:
        assert isinstance(pool._work_ids, Queue)
        with pytest.raises(BrokenProcessPool) as died:
            pool.submit(os._exit, 3).result()
        assert exit_codes(died.value) == ": {EXIT(3)}"
    finally:
        pool.shutdown(wait=True, kill_workers=True)
