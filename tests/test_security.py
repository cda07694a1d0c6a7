"""What the package never does, read from its code; and what it does with files that would like to be executed."""

from __future__ import annotations

import ast
import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

import harness
from harness.runs.cache import Cache

ROOT = Path(harness.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))
#: modules whose reading runs code that a file holds
RUNS_FILES = {"pickle", "cPickle", "cloudpickle", "dill", "shelve", "marshal", "jsonpickle"}
#: functions that unpickle, or run text, unless told otherwise
RUNS_CODE = {
    *("torch.load", "joblib.load", "np.load", "numpy.load", "pd.read_pickle", "pandas.read_pickle", "yaml.load"),
    *("yaml.full_load", "yaml.unsafe_load", "eval", "exec", "compile", "os.system", "__import__"),
}


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """The calls in a module, with the dotted name of what is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@pytest.fixture(params=MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def tree(request: pytest.FixtureRequest) -> ast.Module:
    return ast.parse(request.param.read_text("utf-8"))


def test_no_module_reads_what_runs_code(tree: ast.Module) -> None:
    imported = {
        alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    imported |= {str(node.module).split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not imported & RUNS_FILES
    assert not {name for name, _ in calls(tree)} & RUNS_CODE


def test_no_call_trusts_remote_code_or_opens_a_shell(tree: ast.Module) -> None:
    for name, call in calls(tree):
        for keyword in call.keywords:
            if keyword.arg in ("trust_remote_code", "shell", "allow_pickle"):
                assert ast.unparse(keyword.value) == "False", name


def test_no_address_but_this_machine_is_bound(tree: ast.Module) -> None:
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    assert not {text for text in texts if "0.0.0.0" in text}


class Planted:
    """Makes a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.trace),)


def test_a_pickle_in_the_cache_is_not_loaded(tmp_path: Path) -> None:
    import hashlib

    import torch

    trace = tmp_path / "executed"
    content = pickle.dumps(Planted(trace))
    cache = Cache(tmp_path / "cache")
    path = cache.path("teacher", "key")
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    path.with_suffix(".sha256").write_text(hashlib.sha256(content).hexdigest())
    assert cache.meta("teacher", "key") == {}
    with pytest.warns(UserWarning, match="cannot be read"):
        entry = cache.get_or_build("teacher", "key", lambda: ({"x": torch.ones(1)}, {}))
    assert entry.tensors["x"].item() == 1
    assert not trace.exists()
    pickle.loads(content)  # it would have
    assert trace.exists()
