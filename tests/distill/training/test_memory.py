"""Memory that a process keeps."""

from __future__ import annotations

import platform

import pytest

from harness.distill.training.memory import keep_freed_memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not GNU's")
def test_the_c_library_takes_the_settings() -> None:
    assert keep_freed_memory()
