"""Names and labels of public data sets, from lists and an API that a server on the loopback interface stands in for."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest

from harness.data import TemporalGraph, labels, load, registry
from harness.data.checks import differences
from harness.data.registry import SOURCES, Source
from harness.errors import UserError

#: what is served, by path: bytes, or a function of the query
Served = dict[str, bytes | Callable[[dict[str, list[str]]], tuple[int, Any]]]
IDS = 120


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """Served files; ``fake`` is a data set of them, of numbers, whose names are listed."""
    content: Served = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            url = urlparse(self.path)
            answer = content.get(url.path)
            status, body = answer(parse_qs(url.query)) if callable(answer) else (200 if answer else 404, answer or b"")
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(body)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    facts = "".join(f"{k}\t0\t{k + 1}\t1990\t1991\n" for k in range(IDS - 1)).encode()
    splits = ("train", "valid", "test")
    content |= {f"/{split}.txt": facts for split in splits}
    digests = dict.fromkeys(splits, hashlib.sha256(facts).hexdigest())
    names = [f"Q{k}" for k in range(IDS)]
    content["/entities.json"] = json.dumps({name: k for k, name in reversed([*enumerate(names)])}).encode()
    content["/relations.txt"] = b"P9\t0\tof old\n"
    listed = {
        "labels": "wikidata", "entities": f"{url}/entities.json", "relations": f"{url}/relations.txt",
        "entities_sha256": sha256("\n".join(names)), "relations_sha256": sha256("P9"),
    }  # fmt: skip
    monkeypatch.setitem(SOURCES, "fake", Source("fake", "fake", f"{url}/{{split}}.txt", digests, names=listed))
    monkeypatch.setattr(registry.pooch, "os_cache", lambda project: tmp_path / "cache" / project)
    monkeypatch.setattr(labels, "API", f"{url}/api")
    monkeypatch.setattr(labels, "PAUSE", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    yield content
    server.shutdown()
    thread.join()
    server.server_close()


class Wikidata:
    """An API that is busy at first, and gone after some answers."""

    def __init__(self, answers: int) -> None:
        self.asked: list[list[str]] = []
        self.left = answers

    def __call__(self, query: dict[str, list[str]]) -> tuple[int, Any]:
        ids = query["ids"][0].split("|")
        self.asked.append(ids)
        if len(self.asked) == 1:
            return 429, b"slow down"
        if len(self.asked) == 2:
            return 200, {"error": {"code": "maxlag"}}
        self.left -= 1
        if self.left < 0:
            return 503, b""
        entities: dict[str, Any] = {one: {"labels": {"en": {"value": f"label of {one}"}}} for one in ids}
        special: dict[str, Any] = {
            "Q1": {"missing": ""},
            "Q2": {"labels": {"mul": {"value": "for all"}}},
            "Q3": {"labels": {"en": {"value": "a\ttab,\n\x1b[2Ja \u202eturn "}}},
        }
        entities |= {one: entity for one, entity in special.items() if one in ids}
        if "Q4" in ids:  # was merged into another
            del entities["Q4"]
            entities["Q999"] = {"redirects": {"from": "Q4", "to": "Q999"}, "labels": {"en": {"value": "merged"}}}
        return 200, {"entities": entities}


def test_labels_come_fifty_at_a_time_and_a_fetch_that_was_cut_off_goes_on(served: Served) -> None:
    served["/api"] = api = Wikidata(answers=2)
    with pytest.raises(
        UserError, match=r"does not answer \(503 .*\); what has come is kept, and the same command goes on"
    ):
        labels.fetch("fake", labels=True, report=lambda _: None)
    assert not any(load("fake").entities.labels)  # half of the labels is none
    served["/api"] = rest = Wikidata(answers=99)
    said: list[str] = []
    folder = labels.fetch("fake", labels=True, report=said.append)
    assert max(map(len, api.asked)) == 50
    assert set(rest.asked[-1]) == {*[f"Q{k}" for k in range(100, IDS)], "P9"}
    assert said == ["labels from Wikidata: 121 of 121"]

    graph = load("fake")
    assert graph.entities.names == tuple(f"Q{k}" for k in range(IDS))
    expected = ["label of Q0", None, "for all", "a tab, [2Ja turn", "merged", "label of Q5"]
    assert [*graph.entities.labels[:6]] == expected
    assert graph.relations.labels == ("label of P9",)
    asked = len(rest.asked)
    labels.fetch("fake", labels=True, report=said.append)
    assert len(rest.asked) == asked

    copied = folder.parent / "copied"
    copied.mkdir()
    for path in folder.glob("*.t*"):
        (copied / path.name).write_bytes(
            path.read_bytes().replace(b"label of Q5\n", b"another\n").replace(b"merged", b"")
        )
    other = load(str(copied))
    assert differences(graph, graph) == "all facts, names and labels are equal"
    assert differences(graph, other) == "differing: 1 labels of entities, 1 labels of entities here alone"


def test_a_list_that_is_not_the_published_one_is_refused(served: Served) -> None:
    served["/entities.json"] = b'{"Q1": 0}'
    with pytest.raises(UserError, match=r"the names of .*/entities.json are not those with the known SHA-256"):
        labels.fetch("fake", labels=True, report=lambda _: None)
    served["/entities.json"] = b'{"Q1": 7}'
    with pytest.raises(UserError, match=r"entities.json cannot be read"):
        labels.fetch("fake", labels=True, report=lambda _: None)


def test_labels_are_for_data_without_names(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, "named", replace(SOURCES["fake"], folder="named", names={}))
    assert (labels.fetch("named", labels=False, report=lambda _: None) / "train.txt").exists()
    with pytest.raises(UserError, match="fetch named --labels: its files have names already; leave out --labels"):
        labels.fetch("named", labels=True, report=lambda _: None)


@pytest.mark.parametrize("name", ["yago", "wiki"])
def test_the_known_digests_are_those_of_the_data_sets(real_data: Callable[[str], TemporalGraph], name: str) -> None:
    """What a fetch makes has the names of the local copy, and of yago its labels."""
    graph, source = real_data(name), SOURCES[name].names
    for kind, vocabulary in (("entities", graph.entities), ("relations", graph.relations)):
        if not any(vocabulary.labels):
            pytest.skip(f"this copy of {name} has no names to compare with: public copies have numbers")
        assert sha256("\n".join(vocabulary.names)) == source[f"{kind}_sha256"]
        if source["labels"] == "names":
            make = labels.label_of if kind == "entities" else labels._words
            assert vocabulary.labels == tuple(map(make, vocabulary.names))
