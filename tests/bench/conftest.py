"""What benchmarks change in the process of the tests is changed back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def threads_of_before() -> Iterator[None]:
    """A benchmark sets threads for its process; small tensors take ten times as long with two as with one."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
