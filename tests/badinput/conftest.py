"""The process that all cases are forked from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.badinput.place import Server


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()
