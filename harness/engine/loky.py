"""What the harness needs of loky's insides, all in one place: the pinned version is tested to have it."""

from __future__ import annotations

import re
import sys
import time
from concurrent.futures.process import BrokenProcessPool

from joblib.externals.loky import ProcessPoolExecutor, process_executor


def keep_memory() -> None:
    """Have this worker keep what it holds between tasks.

    Workers keep data and compiled code on purpose, which loky would take for a leak, and begin with a fresh one.
    """
    process_executor._MAX_MEMORY_LEAK_SIZE = sys.maxsize


def wait_until_taken(executor: ProcessPoolExecutor, seconds: float = 1.0) -> None:
    """Wait until loky's thread has taken all that was submitted, or for ``seconds`` at most.

    When workers are killed before, loky drops what was not taken and then fails to find it: a traceback of that thread.
    """
    deadline = time.monotonic() + seconds
    while not executor._work_ids.empty() and time.monotonic() < deadline:
        time.sleep(0.001)


def exit_codes(error: BrokenProcessPool) -> str:
    """How the processes of a broken pool ended, such as "{SIGKILL(-9)}"; "" where loky does not say."""
    codes = re.search(r"exit codes of the workers are (\{.*\})", str(error))
    return codes[1] if codes else ""
