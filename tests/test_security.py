"""What the package never does, read from its code; and what it does with files that would like to be executed."""

from __future__ import annotations

import ast
import hashlib
import os
import pickle
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import harness
from harness.data import load
from harness.errors import UserError
from harness.store.files.artifacts import CURVES, RANKS, Evidence, read_table, study_file
from harness.teachers.language.language_model import load as load_model
from harness.trial.cache import Cache

ROOT = Path(harness.__file__).parent
#: all code that is run, and no test: of the package, and of the checks
MODULES = sorted([*ROOT.rglob("*.py"), *(ROOT.parent / ".ci").glob("*.py")])
#: modules whose reading runs code that a file holds
RUNS_FILES = {"pickle", "cPickle", "cloudpickle", "dill", "shelve", "marshal", "jsonpickle"}
#: functions that unpickle, or run text, unless told otherwise
RUNS_CODE = {
    *("torch.load", "joblib.load", "np.load", "numpy.load", "pd.read_pickle", "pandas.read_pickle", "yaml.load"),
    *(
        "yaml.load_all",
        "yaml.full_load",
        "yaml.unsafe_load",
        "yaml.Loader",
        "yaml.UnsafeLoader",
        "runpy.run_path",
        "eval",
        "exec",
        "compile",
        "os.system",
        "__import__",
    ),
    *("os.popen", "subprocess.getoutput", "shutil.unpack_archive", "pooch.Unzip", "pooch.Untar", "torch.jit.load"),
}


def misdeeds(node: ast.AST) -> Iterator[str]:
    """What a piece of code does that none may: read what runs code, trust others' code, open a shell, listen to all."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        modules = [str(node.module)] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
        yield from (f"import {name}" for name in modules if name.split(".")[0] in RUNS_FILES)
    elif isinstance(node, ast.Call):
        if (name := ast.unparse(node.func)) in RUNS_CODE:
            yield f"{name}()"
        for keyword in node.keywords:
            is_trust = keyword.arg in ("trust_remote_code", "shell", "allow_pickle")
            if is_trust and ast.unparse(keyword.value) != "False":
                yield f"{name}({keyword.arg}={ast.unparse(keyword.value)})"
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "0.0.0.0" in node.value:
        yield node.value


def test_no_module_runs_what_files_hold_or_listens_to_all() -> None:
    seen = {
        f"{path.relative_to(ROOT.parent)}: {misdeed}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        for misdeed in misdeeds(node)
    }
    assert seen == set()


@pytest.mark.parametrize(
    "code",
    [
        *("import pickle", "import numpy, dill as d", "from cloudpickle import loads", "torch.load(x)", "eval(x)"),
        *("np.load(x, allow_pickle=True)", "AutoModel.of(x, trust_remote_code=trust)", "run(x, shell=1)"),
        "serve('http://0.0.0.0:80')",
    ],
)
def test_a_misdeed_is_seen(code: str) -> None:
    assert [misdeed for node in ast.walk(ast.parse(code)) for misdeed in misdeeds(node)] != []


class Planted:
    """Makes a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.trace),)


def test_a_pickle_in_the_cache_is_not_loaded(tmp_path: Path) -> None:
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


def test_pickled_ranks_and_curves_are_not_loaded(tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    content, key = pickle.dumps(Planted(trace)), "0" * 24
    for name in (f"{key}-{'0' * 8}", study_file("study", RANKS), study_file("study", CURVES)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=r"."):
            read_table(tmp_path / name)
    for _ in range(2):  # a file of the trial's own, and then those of its study
        evidence = Evidence(tmp_path, "study")
        with pytest.raises(UserError, match="cannot be read"):
            evidence.doubled(key)
        with pytest.raises(UserError, match="cannot be read"):
            evidence.curves([key])
        (tmp_path / f"{key}-{'0' * 8}").unlink(missing_ok=True)
    assert not trace.exists()


def test_a_pickle_as_data_is_not_loaded(tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.txt").write_bytes(pickle.dumps(Planted(trace)))
    with pytest.raises(UserError, match=r"train\.txt: is a binary file"):
        load(str(tmp_path))
    assert not trace.exists()


def test_pickled_weights_are_not_loaded(tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    for name in ("pytorch_model.bin", "model.safetensors"):  # under its own name, and under another
        (tmp_path / name).write_bytes(pickle.dumps(Planted(trace)))
        with pytest.raises(UserError, match=r"pickled weights|cannot be loaded"):
            load_model(str(tmp_path), torch.float32)
    assert not trace.exists()


# ---- the audit of packages -------------------------------------------------------------------------------------------

verdict = runpy.run_path(str(ROOT.parent / ".ci" / "audit.py"))["verdict"]
SKIPPED = {"name": "a", "skip_reason": "Dependency not found on PyPI"}
CLEAN = {"name": "b", "version": "1", "vulns": []}
WEAK = {"name": "c", "version": "2", "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["3"]}]}


@pytest.mark.parametrize(
    ("report", "required", "code", "last"),
    [
        (None, False, 0, "NOT DONE, the service does not answer"),
        (None, True, 1, "NOT DONE, the service does not answer"),
        ({"dependencies": [SKIPPED]}, False, 0, "NOT DONE, the service knows none of 1 packages"),
        ({"dependencies": [SKIPPED]}, True, 1, "NOT DONE, the service knows none of 1 packages"),
        ({"dependencies": [SKIPPED, CLEAN]}, True, 0, "1 of 2 packages looked up, 0 weaknesses"),
        ({"dependencies": [CLEAN, WEAK]}, False, 1, "2 of 2 packages looked up, 1 weaknesses"),
    ],
)
def test_an_audit_that_looked_nothing_up_does_not_pass_for_one(
    report: dict[str, object] | None, required: bool, code: int, last: str
) -> None:
    actual, lines = verdict(report, required)
    assert actual == code
    assert last in lines[-1]
    assert report is None or WEAK not in report["dependencies"] or "c 2: PYSEC-1 (fixed in 3)" in lines[0]


def test_every_exception_of_bandit_and_of_the_audit_has_a_reason() -> None:
    text = (ROOT.parent / "pyproject.toml").read_text("utf-8")
    skips = text.split("[tool.bandit]")[1].split("]")[0].strip().splitlines()[1:]
    assert skips
    assert all("#" in line and len(line.split("#")[1].split()) > 3 for line in skips)
    exceptions = runpy.run_path(str(ROOT.parent / ".ci" / "audit.py"))["EXCEPTIONS"]
    assert all(len(reason.split()) > 3 for reason in exceptions.values())
