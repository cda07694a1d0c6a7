"""Files of students that are cut, changed, foreign, newer, or whose sizes do not fit: one line, never a traceback."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from harness.data import load as load_graph
from harness.errors import UserError
from harness.student import Student
from harness.student.export import Exported, model_of
from harness.student.fileformat import VERSION, StudentFile, read
from tests.student.parts import parts_of, written

Change = Callable[[dict[str, Any], dict[str, Any]], None]


def test_what_was_written_is_read(file: Path) -> None:
    content: StudentFile = read(file)
    graph = load_graph(content.about.spec["dataset"])
    for ours, theirs in ((content.entities, graph.entities), (content.relations, graph.relations)):
        assert (ours.names, ours.labels) == (theirs.names, theirs.labels)
    known = {tuple(row) for row in zip(*(c.tolist() for c in content.facts.columns.values()), strict=True)}
    splits = [zip(*(c.tolist() for c in facts.columns.values()), strict=True) for facts in graph.splits.values()]
    assert known == {row for rows in splits for row in rows}
    header = file.stat().st_size - sum(content.sizes.values())
    assert 0 < header < 20_000


def _of_format(arrays: dict[str, Any], about: dict[str, Any]) -> None:
    about["format"] = "something else"


def _newer(arrays: dict[str, Any], about: dict[str, Any]) -> None:
    about["version"] = VERSION + 1


def _no_backbone(arrays: dict[str, Any], about: dict[str, Any]) -> None:
    about["backbone"] = "os.system"


def _fewer_names(arrays: dict[str, Any], about: dict[str, Any]) -> None:
    arrays["entities"] = arrays["entities"][: arrays["entities"].tobytes().rindex(b"\n")]


def _no_text(arrays: dict[str, Any], about: dict[str, Any]) -> None:
    arrays["entities"] = np.full_like(arrays["entities"], 255)


def _lacking(arrays: dict[str, Any], about: dict[str, Any]) -> None:
    del arrays["relation.weight.values"]


def _other_dim(arrays: dict[str, Any], about: dict[str, Any]) -> None:
    about["dim"] += 1


def _other_shape(arrays: dict[str, Any], about: dict[str, Any]) -> None:
    about["tensors"]["entity.weight"]["shape"][0] += 1


def _huge_shape(arrays: dict[str, Any], about: dict[str, Any]) -> None:
    about["tensors"]["entity.weight"]["shape"] = [10**9, 10**9]


def _other_bits(arrays: dict[str, Any], about: dict[str, Any]) -> None:
    about["tensors"]["entity.weight"]["bits"] = 4


def _not_finite(arrays: dict[str, Any], about: dict[str, Any]) -> None:
    arrays["entity.weight.values"] = arrays["entity.weight.values"].copy()
    arrays["entity.weight.values"][3, 2] = np.nan


def _times_out_of_order(arrays: dict[str, Any], about: dict[str, Any]) -> None:
    arrays["times"] = arrays["times"][::-1].copy()


def _more_facts(arrays: dict[str, Any], about: dict[str, Any]) -> None:
    about["n_facts"] += 1


def _no_facts(arrays: dict[str, Any], about: dict[str, Any]) -> None:
    arrays["facts"] = np.zeros(9, np.uint8)


def _unknown_key(arrays: dict[str, Any], about: dict[str, Any]) -> None:
    about["code"] = "print(1)"


def _of_no_size(arrays: dict[str, Any], about: dict[str, Any]) -> None:
    about["tensors"]["time.weight"]["shape"][0] = 10**30


def _countless_facts(arrays: dict[str, Any], about: dict[str, Any]) -> None:
    about["n_facts"] = 10**18


def _facts_that_unpack_to_much(arrays: dict[str, Any], about: dict[str, Any]) -> None:
    about["n_facts"] = 10**6
    arrays["facts"] = np.frombuffer(zlib.compress(bytes(8 * 5 * 10**6), 9), np.uint8)


def _many_names(arrays: dict[str, Any], about: dict[str, Any]) -> None:
    arrays["entities"] = np.full(10**7, ord("\n"), np.uint8)


def _names_in_floats(arrays: dict[str, Any], about: dict[str, Any]) -> None:
    arrays["entities"] = arrays["entities"].astype(np.float64)


def _scalar(arrays: dict[str, Any], about: dict[str, Any]) -> None:
    about["tensors"]["entity.weight"]["bits"] = 4
    arrays["entity.weight.codes"] = np.zeros((40, 4), np.uint8)
    arrays["entity.weight.scale"] = np.array(1, np.float16)


def _no_day(arrays: dict[str, Any], about: dict[str, Any]) -> None:
    about |= {"granularity": "day", "first_time": 0}


def _no_table(arrays: dict[str, Any], about: dict[str, Any]) -> None:
    del about["tensors"]["time.weight"]


def _fewer_times(arrays: dict[str, Any], about: dict[str, Any]) -> None:
    arrays["time.weight.values"] = arrays["time.weight.values"][:-1].copy()
    about["tensors"]["time.weight"]["shape"][0] -= 1


def _narrow_relations(arrays: dict[str, Any], about: dict[str, Any]) -> None:
    arrays["relation.weight.values"] = arrays["relation.weight.values"][:, :4].copy()
    about["tensors"]["relation.weight"]["shape"][1] = 4


def _tokens(arrays: dict[str, Any], about: dict[str, Any]) -> None:
    about["time_input"] = "tokens"


def _other_formula(arrays: dict[str, Any], about: dict[str, Any]) -> None:
    about["backbone"] = "ta-distmult"


def _endless_scale(arrays: dict[str, Any], about: dict[str, Any]) -> None:
    arrays["log_scale.values"] = np.full_like(arrays["log_scale.values"], 1e30)


def _cold(arrays: dict[str, Any], about: dict[str, Any]) -> None:
    about["temperature"] = 1e-320


CHANGES: dict[str, tuple[Change, str]] = {
    "format": (_of_format, "another format"),
    "newer": (_newer, "newer than"),
    "backbone": (_no_backbone, "no formula"),
    "names": (_fewer_names, "damaged"),
    "text": (_no_text, "damaged"),
    "lacking": (_lacking, "damaged"),
    "dim": (_other_dim, "damaged"),
    "shape": (_other_shape, "damaged"),
    "huge": (_huge_shape, "damaged"),
    "bits": (_other_bits, "damaged"),
    "nan": (_not_finite, "damaged"),
    "times": (_times_out_of_order, "damaged"),
    "more facts": (_more_facts, "damaged"),
    "no facts": (_no_facts, "damaged"),
    "key": (_unknown_key, "cannot be read"),
    "size": (_of_no_size, "damaged"),
    "countless": (_countless_facts, "damaged"),
    "bomb": (_facts_that_unpack_to_much, "damaged"),
    "many names": (_many_names, "damaged"),
    "floats": (_names_in_floats, "damaged"),
    "scalar": (_scalar, "damaged"),
    "day": (_no_day, "damaged"),
    "table": (_no_table, "not the tables"),
    "few times": (_fewer_times, "not the tables"),
    "relations": (_narrow_relations, "not the tables"),
    "tokens": (_tokens, "not the tables"),
    "formula": (_other_formula, "not the tables"),
    "scale": (_endless_scale, "not finite"),
    "temperature": (_cold, "cannot be read"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_file_is_refused(name: str, file: Path, tmp_path: Path) -> None:
    change, reason = CHANGES[name]
    arrays, about = parts_of(file)
    change(arrays, about)
    with pytest.raises(UserError, match=reason):
        Student.load(written(tmp_path / "changed", arrays, about))


@pytest.mark.parametrize(
    ("stated", "reason"),
    [
        ({"spec": {"student": {"dim": "x"}}}, "student.dim"),
        ({"backbone": "tcomplex"}, "not the tables"),
    ],
)
def test_a_file_that_answers_and_cannot_be_scored_is_one_line(
    stated: dict[str, Any], reason: str, file: Path, tmp_path: Path
) -> None:
    arrays, about = parts_of(file)
    content = read(written(tmp_path / "changed", arrays, about | stated))
    with pytest.raises(UserError, match=reason):
        model_of(content)


@pytest.mark.parametrize(("kind", "times"), [("BF16", 4), ("F8_E4M3", 8)])
def test_types_that_numpy_lacks_are_refused(file: Path, tmp_path: Path, kind: str, times: int) -> None:
    content = file.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    header["times"] |= {"dtype": kind, "shape": [times * header["times"]["shape"][0]]}
    changed = json.dumps(header).encode()
    (tmp_path / "changed").write_bytes(struct.pack("<Q", len(changed)) + changed + content[8 + size :])
    with pytest.raises(UserError, match="no student's file"):
        read(tmp_path / "changed")


def test_what_is_no_file_of_a_student_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read(tmp_path / "nowhere")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "text").write_text("a student", encoding="utf-8")
    (tmp_path / "other").write_bytes(save({"x": np.zeros(3)}))
    for name in ("empty", "text", "other"):
        with pytest.raises(UserError, match=r"no student's file|something else"):
            read(tmp_path / name)
    for about in ("", "[]", "null", "{", '{"format": "tkg-student"}', "[" * 100_000):
        with pytest.raises(UserError, match=r"cannot be read|newer|something else"):
            read(written(tmp_path / "stated", {"x": np.zeros(3)}, about))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_cut_or_changed_byte_never_ends_in_a_traceback(
    data: st.DataObject, exported: Exported, tmp_path: Path
) -> None:
    content = bytearray(exported.content)
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    (tmp_path / "changed").write_bytes(content)
    with suppress(UserError):  # a changed number is another number; all else is refused
        Student.load(tmp_path / "changed")
