"""``python -m harness.student`` as a user gives it, ``distil`` in Python, and HTTP."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from harness.data.graph import Vocabulary
from harness.errors import UserError
from harness.student import Student
from harness.student.choosing import wanted
from harness.student.distilling import dimension
from harness.student.export import Exported, model_of
from harness.student.fileformat import read
from harness.student.student import Names
from tests.inside import Here
from tests.postgresql import free_port

QUICK = {
    "student.dim": 8,
    "student.epochs": 2,
    "student.stage1_epochs": 1,
    "student.batch_size": 64,
    "teacher.dim": 16,
    "teacher.epochs": 1,
    "teacher.batch_size": 64,
    "loss.targets": 16,
    "time.size": 40,
}


@pytest.fixture
def place(tmp_path: Path, tiny_encoder: Path) -> Here:
    return Here(tmp_path, tiny_encoder)


def export(place: Here, *more: str, code: int = 0) -> str:
    settings = [word for key, value in QUICK.items() for word in ("--set", f"{key}={value}")]
    words = ("export", "--dataset", "./toy", "--arm", "L1", "-o", "toy.student", *settings, *more)
    done = place(*words, module="harness.student")
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def student(place: Here, *words: str, code: int = 0) -> str:
    done = place(*words, module="harness.student")
    assert done.returncode == code, done.stderr
    if code:
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
    return done.stdout if code == 0 else done.stderr


def test_from_facts_to_an_answer(place: Here) -> None:
    """Export, look, score, ask, convert: one after the other, as in the README."""
    assert "test MRR 0." in export(place, "--set", "student.bits=8")
    metrics = read(place.folder / "toy.student").about.metrics
    shown = student(place, "info", "toy.student")
    assert f"{metrics['mrr']:.4f}" in shown
    assert "8 bits" in shown
    assert f"mrr {metrics['mrr']:.4f}" in student(place, "evaluate", "toy.student", "--dataset", "./toy")
    asked = student(place, "ask", "toy.student", "person 03", "rel 1", "--at", "1931", "-k", "3")
    assert asked.count("person") == 3
    assert "written" not in student(place, "convert", "toy.student", "--bits", "3", "-o", "small.student")
    assert (place.folder / "small.student").stat().st_size < (place.folder / "toy.student").stat().st_size
    assert "did you mean 'person 03'" in student(place, "ask", "toy.student", "persn 03", "rel 1", code=2)
    assert "choose fewer" in student(place, "convert", "toy.student", "--bits", "16", "-o", "x", code=2)
    assert "either --bits" in student(place, "convert", "toy.student", "-o", "x", code=2)
    assert "unknown protocol" in student(place, "evaluate", "toy.student", "--protocol", "filtered", code=2)
    assert "stores no metrics" in student(
        place, "convert", "toy.student", "--onnx", "--dataset", "./toy", "-o", "x", code=2
    )
    for kind in (("--bits", "4"), ("--onnx",)):
        for output, reason in (("nowhere/x", "is not there"), ("toy", "is a folder")):
            assert reason in student(place, "convert", "toy.student", *kind, "-o", output, code=2)
    assert not (place.folder / "x").exists()


@pytest.mark.usefixtures("no_report")
def test_a_trial_of_the_store(place: Here) -> None:
    """The best one on validation, or one by its number; its ranks are compared with the store's."""
    done = place("ablation", *place.options, "--arms", "none,L1", "--seeds", "1")
    assert done.returncode == 0, done.stderr
    words = ("export", "--study", "ablation", "--dataset", "./toy", "-o", "best.student")
    assert "the ranks are those of the store" in student(place, *words)
    assert "the ranks are those of the store" in student(place, *words, "--trial", "0")
    assert "no complete student of number 99" in student(place, *words, "--trial", "99", code=2)
    assert "has no study 'sweep'" in student(place, *words[:2], "sweep", *words[3:], code=2)
    for option in (("--set", "student.dim=9"), ("--arm", "none"), ("--seed", "1"), ("--preset", "quick")):
        assert f"{option[0]}: the store has the trial's settings" in student(place, *words, *option, code=2)
    assert "name it with --study" in student(place, "export", "--trial", "0", "-o", "x", code=2)
    assert "is a folder" in student(place, "export", "--dataset", "./toy", "-o", "toy", code=2)


def test_an_arm_is_one_however_it_is_written(place: Here) -> None:
    given = [wanted(str(place.folder / "toy"), arm, "ttranse", 0, "quick", []) for arm in ("L2+L1", "CE+L1+L2", "CE")]
    assert [spec.arm for spec in given] == ["L1+L2", "L1+L2", "none"]


def test_an_onnx_graph_scores_as_the_student(place: Here) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    export(place, "--backbone", "tntcomplex")
    student(place, "convert", "toy.student", "--onnx", "-o", "toy.onnx")
    session = onnxruntime.InferenceSession(place.folder / "toy.onnx", providers=["CPUExecutionProvider"])
    loaded = Student.load(place.folder / "toy.student")
    asked = np.array([3, 5, 3]), np.array([0, 1, 6]), np.array([[1, 2], [2, 2], [0, 0]])
    names = [given.name for given in session.get_inputs()]
    theirs = session.run(None, dict(zip(names, asked, strict=True)))[0]
    assert theirs == pytest.approx(loaded.scores(*asked), rel=1e-4, abs=1e-4)


def test_a_student_needs_no_torch_and_little_memory(place: Here) -> None:
    """Import and first answer; see docs for the measurement on Wikidata12k."""
    export(place)
    code = (
        "import re, sys; from harness.student import Student\n"
        "print(len(Student.load('toy.student').answers('person 03', 'rel 1', at=1931, k=4)))\n"
        "print(sorted({'torch', 'optuna', 'pandas', 'scipy'} & set(sys.modules)))\n"
        "print(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1])"
    )
    root = str(Path(__file__).parent.parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=place.folder,
        env={"PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=True,
    )
    n, modules, peak = done.stdout.splitlines()
    assert (n, modules) == ("4", "[]")
    assert int(peak) < 100 * 2**10


def test_distil_in_python(place: Here, tmp_path: Path) -> None:
    kept = place.folder / "kept.student"
    answer = harness.distil(
        place.folder / "toy", bytes_per_entity=10, settings={k: v for k, v in QUICK.items() if k != "student.dim"},
        output=kept, cache_dir=tmp_path / "cache",
    )  # fmt: skip
    assert (answer.about.dim, answer.about.bits) == (32, 2)
    assert answer.content.sizes["entities"] == 10 * len(answer.content.entities)
    frame = answer.predict("person 03", "rel 1", at=("1930", "1934"), k=5)
    assert list(frame.columns) == ["rank", "entity", "label", "probability", "score", "known"]
    assert frame["score"].is_monotonic_decreasing
    again = Student.load(kept).predict("person 03", "rel 1", at=("1930", "1934"), k=5)
    assert again.equals(frame)


@pytest.mark.parametrize(
    ("size", "bits", "dim"), [(100, 4, 196), (100, 32, 24), (52, 2, 200), (42, "ternary", 200), (3, 4, 2)]
)
def test_the_dimension_that_bytes_buy(size: int, bits: Any, dim: int) -> None:
    assert dimension(size, bits) == dim


def test_bytes_and_bits_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not there; make it first"):
        harness.distil("lahman", output=tmp_path / "nowhere" / "x")
    with pytest.raises(UserError, match="a row of two numbers has 8 bytes"):
        dimension(7, 32)
    with pytest.raises(UserError, match="choose one of 32, 16"):
        dimension(100, 5)  # type: ignore[arg-type]  # what types refuse


def test_answers_are_the_scores_in_order_and_probabilities_add_up(file: Path) -> None:
    asked = Student.load(file)
    every = asked.answers("person 03", "rel 1", "1931", k=1000)
    assert len(every) == len(asked.content.entities)
    assert sum(one.probability for one in every) == pytest.approx(1)
    import torch  # the other way

    model = model_of(asked.content)
    time = torch.from_numpy(asked.timeline.classes(np.array([1931, 1931])))[None]
    with torch.no_grad():
        from harness.models import scores

        query = model.encode(torch.tensor([3]), torch.tensor([1]), time)
        z = scores(query, model.entity_table(), model.kernel, model.scale())[0]
    names = asked.content.entities.names
    assert {one.entity: one.score for one in every} == pytest.approx(
        dict(zip(names, z.tolist(), strict=True)), rel=1e-4
    )
    p = (z / asked.about.temperature).double().softmax(0)
    assert every[0].probability == pytest.approx(float(p.max()), rel=1e-3)


def test_known_answers_are_marked_or_left_out(file: Path) -> None:
    asked = Student.load(file)
    facts = asked.content.facts
    names, relations = asked.content.entities.names, asked.content.relations.names
    for k in (0, 7, 30):
        start, end = int(facts.start[k]), int(facts.end[k])
        question = names[facts.head[k]], relations[facts.relation[k]], (str(start), str(end))
        same = (facts.head == facts.head[k]) & (facts.relation == facts.relation[k])
        known = {names[e] for e in facts.tail[same & (facts.start <= end) & (facts.end >= start)]}
        every = asked.answers(*question, k=1000)
        assert {one.entity for one in every if one.known} == known
        left = asked.answers(*question, k=1000, known="leave out")
        assert {one.entity for one in left} == {one.entity for one in every} - known
        assert sum(one.probability for one in left) == pytest.approx(1)
        back = asked.answers(names[facts.tail[k]], *question[1:], k=1000, head=True)
        assert next(one for one in back if one.entity == question[0]).known


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        ("1931-05-06", "knows years"),
        ("soon", "knows years"),
        ("", "knows years"),
        ("####", "knows years"),
        ("1066", "outside of what"),
        (("1935", "1931"), "ends before it begins"),
        (("1931",), "a start and an end"),
        (("1931", "1932", "1933"), "a start and an end"),
    ],
)
def test_times_that_the_student_cannot_know(file: Path, at: Any, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        Student.load(file).answers("person 03", "rel 1", at)


def names(*pairs: tuple[str, str | None]) -> Names:
    return Names(Vocabulary(*zip(*pairs, strict=True)), "entity")


def test_a_name_is_found_whatever_labels_others_have() -> None:
    vocabulary = names(("Q1", "Q2"), ("Q2", "Rome"), ("Q3", "rome"), ("Q4", "Jos\u00e9"), ("usa", "USA"))
    asked = {"Q2": 1, "q1": 0, " q3 ": 2, "Rome": 1, "rome": 2, "Jose\u0301": 3, "uSa": 4}
    assert {text: vocabulary.number(text) for text in asked} == asked


@pytest.mark.parametrize(
    ("text", "reason"),
    [("ROME", "2 have this name; say which: Q2, Q3"), ("dup", "say which: A, B"), ("Romme", "did you mean 'Rome'")],
)
def test_a_name_that_is_none_or_that_of_several(text: str, reason: str) -> None:
    vocabulary = names(("Q2", "Rome"), ("Q3", "rome"), ("A", "dup"), ("B", "dup"))
    with pytest.raises(UserError, match=reason):
        vocabulary.number(text)


def test_where_all_answers_are_known_there_are_no_new_ones(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Student.load(file)
    monkeypatch.setattr(asked, "_known", lambda *_: np.arange(len(asked.content.entities)))
    assert asked.answers("person 03", "rel 1", 1931, known="leave out") == []
    assert all(one.known for one in asked.answers("person 03", "rel 1", 1931))


def test_what_python_may_ask_wrongly_is_one_line(file: Path) -> None:
    asked = Student.load(file)
    for wrong in ({"k": 0}, {"known": "hide"}):
        with pytest.raises(UserError):
            asked.answers("person 03", "rel 1", 1931, **wrong)  # type: ignore[arg-type]  # what types refuse
    assert asked.answers("person 03", "rel 1", ["1931", 1932])  # type: ignore[arg-type]  # what types refuse


# ---- HTTP ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(
    exported: Exported, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[str]:
    """The address of a server in a process of its own; its rate is the parameter, else far above what is asked."""
    pytest.importorskip("uvicorn")
    file = tmp_path_factory.mktemp("served") / "toy.student"
    file.write_bytes(exported.content)
    port = free_port()
    words = [
        "-m",
        "harness.student",
        "serve",
        str(file),
        "--port",
        str(port),
        "--rate",
        getattr(request, "param", "1000"),
    ]
    root = str(Path(__file__).parent.parent.parent)
    process = subprocess.Popen(
        [sys.executable, *words], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    where = f"http://127.0.0.1:{port}"
    for _ in range(300):
        try:
            urllib.request.urlopen(f"{where}/health", timeout=1)
            break
        except OSError:
            assert process.poll() is None, process.stderr and process.stderr.read()
            time.sleep(0.1)
    yield where
    process.terminate()
    process.communicate(timeout=20)


def get(where: str, path: str, **query: object) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(f"{where}{path}?{urllib.parse.urlencode(query)}", timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        content = error.read()
        return error.code, json.loads(content) if content.startswith(b"{") else content.decode()


def test_a_server_answers_and_refuses(server: str, file: Path) -> None:
    question = {"subject": "person 03", "relation": "rel 1", "at": "1931", "k": 3}
    status, answers = get(server, "/predict", **question)
    assert status == 200
    ours = Student.load(file).answers("person 03", "rel 1", "1931", k=3)
    assert [answer["entity"] for answer in answers] == [one.entity for one in ours]
    assert get(server, "/info")[1]["entities"] == 40
    status, page = get(server, "/openapi.json")
    assert status == 200
    assert "/predict" in page["paths"]
    for change in ({"subject": "nobody at all"}, {"at": "1066"}, {"k": 0}, {"k": "x"}, {"subject": "x" * 500}):
        status, reason = get(server, "/predict", **{**question, **change})
        assert status == 422, change
        assert "Traceback" not in json.dumps(reason)
    assert get(server, "/predict", **{**question, "filler": "x" * 5000})[0] == 414
    assert get(server, "/nothing")[0] == 404


def raw(where: str, request: bytes) -> bytes:
    """What a server answers to bytes that may be no request."""
    with socket.create_connection(("127.0.0.1", int(where.rsplit(":", 1)[1])), timeout=10) as connection:
        connection.sendall(request)
        return connection.recv(4000)


@pytest.mark.parametrize(
    ("line", "host", "status"),
    [
        (b"GET /info", b"[", 200),
        (b"GET http://[/info", b"x", 404),
        (b"GET /predict?subject=%ff%00&relation=%22%27", b"x:99999999", 422),
        (b"GET /predict?subject=person+03&relation=rel+1&k=" + b"9" * 60, b"x", 422),
        (b"POST /predict", b"x", 405),
        (b"nonsense", b"x", 400),
    ],
)
def test_requests_of_other_programs(server: str, line: bytes, host: bytes, status: int) -> None:
    answer = raw(server, line + b" HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize(("rate", "at_once", "a_minute"), [(20.0, 20, 1200), (0.1, 1, 6)])
def test_the_rate_is_that_on_average(rate: float, at_once: int, a_minute: int) -> None:
    limits = pytest.importorskip("harness.student.serving")
    now = 0.0
    limit = limits.Limit(rate, lambda: now)
    assert sum(limit.takes() for _ in range(100)) == at_once
    taken = 0
    for step in range(1, 60 * 64 + 1):
        now = step / 64
        taken += limit.takes()
    assert taken == pytest.approx(a_minute, abs=1)


@pytest.mark.parametrize("host", ["", "nowhere.invalid", "x" * 300, "é" * 90])
def test_an_address_that_is_none_is_one_line(file: Path, host: str) -> None:
    serving = pytest.importorskip("harness.student.serving")
    with pytest.raises(UserError, match="--host"):
        serving.listen(host, free_port())


def test_a_port_that_is_taken_is_one_line(place: Here, server: str, file: Path) -> None:
    """And no address is shown at which somebody else answers."""
    done = place("serve", str(file), "--port", server.rsplit(":", 1)[1], module="harness.student")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: cannot listen at 127.0.0.1, port ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("server", ["0.1"], indirect=True)
def test_too_many_requests_get_429(server: str) -> None:
    """One in ten seconds, however slow the machine is."""
    answers = [get(server, "/info")[0] for _ in range(5)]
    assert answers[0] == 200
    assert 429 in answers[1:]
    assert get(server, "/health")[0] == 200


def test_a_time_is_asked_for_where_every_fact_has_one(file: Path) -> None:
    with pytest.raises(UserError, match="give it, such as --at"):
        Student.load(file).answers("person 03", "rel 1")
