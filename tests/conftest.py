"""Fixtures that all tests share."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache

import pytest

from harness.data import TemporalGraph, load
from harness.data.registry import SOURCES, find, search_path


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
