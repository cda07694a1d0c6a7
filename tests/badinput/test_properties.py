"""Whatever is given to a reader, it reads it or says in one line what is wrong."""

from __future__ import annotations

import tempfile
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.data import UNKNOWN, load
from harness.data.dates import parse, show
from harness.design import strict_yaml as plain
from harness.design.files import load as read_design
from harness.design.schema import Design
from harness.design.settings import parse_changes
from harness.errors import UserError
from harness.store.database.urls import reason_of, safe, sqlite_file
from harness.trial.spec import TrialSpec

LINE = "a\tr\tb\t1990\t1995\n"
#: values that YAML can tell, of every kind
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
DESIGN: dict[str, Any] = {
    "name": "mine",
    "title": "t",
    "about": "a",
    "arms": ["none", "L1"],
    "backbone": "ttranse",
    "presets": {"quick": {"about": "q", "seeds": 1}},
}


def tried(kind: type[Exception], call: Callable[..., Any], *given: Any) -> tuple[Any, str]:
    """What a call returns, or the text of its error, on one line."""
    try:
        return call(*given), ""
    except kind as error:
        return None, str(error)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=30) | st.sampled_from([LINE.encode(), b"\t", b"\n", b"1990", b"\xff"]), max_size=8))
def test_a_file_of_any_bytes_is_read_or_refused_with_its_name(parts: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as name:
        for split in ("train", "valid", "test"):
            Path(name, f"{split}.txt").write_text(LINE)
        Path(name, "test.txt").write_bytes(b"".join(parts))
        graph, reason = tried(UserError, load, name)
    if reason:
        assert reason.startswith(str(Path(name, "test.txt")))
        return
    assert not any(unicodedata.category(c) == "Cc" for text in graph.entities.names for c in text)
    known = (graph.test.start != UNKNOWN) & (graph.test.end != UNKNOWN)
    assert (graph.test.start[known] <= graph.test.end[known]).all()


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="0123456789#-٣² ", max_size=12) | st.text(max_size=12), st.sampled_from(["year", "day"]))
def test_a_date_is_a_time_or_is_refused(token: str, granularity: Any) -> None:
    time, reason = tried(ValueError, parse, token, granularity)
    assert repr(token) in reason if reason else time == UNKNOWN or parse(show(time, granularity), granularity) == time


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from([*DESIGN, *Design.model_fields, "other"]), VALUES, max_size=4))
def test_a_study_of_any_values_is_read_or_refused_with_its_file(changes: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "mine.yaml")
        path.write_text(yaml.safe_dump(DESIGN | changes, allow_unicode=True), encoding="utf-8")
        design, reason = tried(UserError, read_design, path)
    assert str(path) in reason if reason else design.name == "mine"


@settings(max_examples=100, deadline=None)
@given(VALUES.map(yaml.safe_dump) | st.text(alphabet="[]{}:,-!&*'\"a1\n ", max_size=20))
def test_yaml_is_read_as_its_library_reads_it_or_refused(text: str) -> None:
    value, reason = tried(yaml.YAMLError, plain.load, text)
    assert reason or repr(value) == repr(yaml.safe_load(text))


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=30), st.sampled_from(["alpha", "student.dim", "protocol", "llm.model", "", "x"]))
@example("!!python/object/apply:os.mkdir [executed]", "alpha")
@example("&a [*a]", "alpha")
@example("2014-99-99", "alpha")
@example("0x" + "f" * 9999, "alpha")
@example("[" * 9999, "alpha")
def test_a_setting_of_any_text_is_taken_or_refused(text: str, key: str) -> None:
    changes, reason = tried(UserError, parse_changes, [f"{key}={text}"])
    if reason:
        assert reason.startswith("--set ")
        return
    spec, _ = tried(ValidationError, TrialSpec.model_validate, changes)
    assert spec is None or TrialSpec.model_validate_json(spec.model_dump_json()) == spec


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=12), st.sampled_from(["://me:{}@host/db", "://host/db?user=me&password={}&a=1"]))
def test_no_form_of_a_password_is_shown(text: str, form: str) -> None:
    secret = f"S3cret{text}"
    raw, packed = (f"postgresql+psycopg{form.format(one)}" for one in (secret, quote(secret, safe="")))
    assert "S3cret" not in safe(packed)
    for message in (f'no answer from "{packed}"', f"user me, word {secret}", f"user me, word {quote(secret, safe='')}"):
        assert "S3cret" not in reason_of(ValueError(message), packed)
    if "?" not in form:
        assert "S3cret" not in safe(raw)
        assert "S3cret" not in tried(UserError, sqlite_file, raw)[1]
