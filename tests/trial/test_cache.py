from __future__ import annotations

import hashlib
import multiprocessing
import stat
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from harness.errors import UserError
from harness.trial.cache import Built, Cache, digest, write_atomically


def build() -> Built:
    return {"a": torch.arange(6.0).reshape(2, 3)}, {"mrr": 0.5}


def refuse() -> Built:
    raise AssertionError("built again")


def test_built_once_then_read(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    first, second = cache.get_or_build("teacher", "k", build), cache.get_or_build("teacher", "k", refuse)
    assert (first.cached, second.cached) == (False, True)
    assert torch.equal(first.tensors["a"], second.tensors["a"])
    assert second.meta["mrr"] == 0.5
    assert second.meta["build_seconds"] >= 0
    assert cache.meta("teacher", "k") == second.meta
    assert cache.meta("teacher", "other") == {}


@pytest.mark.parametrize("damage", ["flip", "truncate", "foreign", "another's", "no checksum", "pickle"])
def test_damaged_file_is_rebuilt_with_a_warning(tmp_path: Path, damage: str) -> None:
    cache = Cache(tmp_path)
    cache.get_or_build("teacher", "k", build)
    path = cache.path("teacher", "k")
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[-1] ^= 1
        path.write_bytes(content)
    elif damage == "truncate":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "foreign":
        path.write_bytes(b"not a safetensors file")
    elif damage == "another's":  # with its own checksum
        cache.get_or_build("teacher", "other", build)
        for suffix in (".safetensors", ".sha256"):
            cache.path("teacher", "other").with_suffix(suffix).replace(path.with_suffix(suffix))
    elif damage == "pickle":  # would create a file if it were ever loaded
        path.write_bytes(b"cposix\nsystem\n(S'touch " + str(tmp_path / "owned").encode() + b"'\ntR.")
    else:
        path.with_suffix(".sha256").unlink()
    assert not cache.has("teacher", "k")
    with pytest.warns(UserWarning, match="is rebuilt"):
        entry = cache.get_or_build("teacher", "k", build)
    assert not entry.cached
    assert not (tmp_path / "owned").exists()
    assert cache.get_or_build("teacher", "k", refuse).cached


def test_failure_to_build_leaves_nothing(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with pytest.raises(AssertionError):
        cache.get_or_build("teacher", "k", refuse)
    assert [path.suffix for path in (tmp_path / "teacher").iterdir()] in ([], [".lock"])
    assert not cache.has("teacher", "k")


def test_what_a_killed_process_left_of_writing_is_removed(tmp_path: Path) -> None:
    left = [tmp_path / "teacher" / f".{name}.1a2b3c4d.tmp" for name in ("k.safetensors", "k.sha256", "other.sha256")]
    left[0].parent.mkdir()
    for path in left:
        path.touch()
    Cache(tmp_path).get_or_build("teacher", "k", build)
    assert [path.exists() for path in left] == [False, False, True]  # somebody may be at the other one


def test_a_file_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    """It does not say whose it is."""
    content = save(build()[0], {"meta": "{}"})
    (tmp_path / "teacher").mkdir()
    Cache(tmp_path).path("teacher", "k").write_bytes(content)
    (tmp_path / "teacher" / "k.sha256").write_text(hashlib.sha256(content).hexdigest())
    assert Cache(tmp_path).get_or_build("teacher", "k", refuse).cached


def test_unwritable_folder_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, not a folder")
    with pytest.raises(UserError, match="cannot be written"):
        Cache(tmp_path / "cache").get_or_build("teacher", "k", build)


def test_atomic_write_leaves_no_temporary_file(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    with pytest.raises(OSError):  # noqa: PT011 - a folder cannot be replaced by a file
        write_atomically(target, b"x")
    assert list(tmp_path.iterdir()) == [target]
    assert stat.S_ISDIR(target.stat().st_mode)


def processes() -> Any:
    """What makes processes: they are forked from one that has imported all this, which takes seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _ask(root: str, marks: str) -> None:
    def slow() -> Built:
        with open(marks, "a", encoding="utf-8") as file:
            file.write("x")
        import time

        time.sleep(0.3)
        return build()

    Cache(Path(root)).get_or_build("teacher", "k", slow)


def test_processes_that_ask_at_once_build_once(tmp_path: Path) -> None:
    context = processes()
    marks = tmp_path / "marks"
    asking = [context.Process(target=_ask, args=(str(tmp_path / "cache"), str(marks))) for _ in range(3)]
    for process in asking:
        process.start()
    for process in asking:
        process.join(60)
        assert process.exitcode == 0
    assert marks.read_text() == "x"


def _keep_few(root: Path, first: int, results: multiprocessing.Queue[str]) -> None:
    cache, faults = Cache(root), []
    for step in range(150):
        try:
            value = float((7 * step + first) % 12)
            build = partial(_constant, value)
            if float(cache.get_or_build("student", f"{value:g}", build).tensors["x"]) != value:
                faults.append("another's result")
            cache.keep_newest("student", 3)
        except Exception as error:
            faults.append(f"{type(error).__name__}: {error}")
    results.put("; ".join(faults))


def _constant(value: float) -> Built:
    return {"x": torch.tensor(value)}, {}


def test_results_that_others_remove_are_built_again(tmp_path: Path) -> None:
    """Workers write, read and remove a few results at once, without a fault or another's content."""
    context = processes()
    results = context.Queue()
    workers = [context.Process(target=_keep_few, args=(tmp_path, first, results)) for first in range(3)]
    for worker in workers:
        worker.start()
    assert [results.get(timeout=120) for _ in workers] == ["", "", ""]
    for worker in workers:
        worker.join()
    assert len(list((tmp_path / "student").glob("*.safetensors"))) <= 3 + len(workers)


def test_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest(["a"], "b") != digest(["a", "b"])
