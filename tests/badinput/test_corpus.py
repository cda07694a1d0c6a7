"""Every case of the corpus ends with one line or does no harm; see ``tests.badinput.place.check``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.badinput import datasets, downloads, flags, labels, names, plugins, stores, studies
from tests.badinput.place import Case, Server, check

KINDS = {
    "data": datasets,
    "study file": studies,
    "name": names,
    "flag": flags,
    "label": labels,
    "store": stores,
    "plugin": plugins,
}
CORPUS = [
    pytest.param(case, id=f"{kind}: {case.name}", marks=[pytest.mark.slow] if case.slow else [])
    for kind, module in KINDS.items()
    for case in module.cases()
]


@pytest.mark.parametrize("case", CORPUS)
def test_bad_input_ends_with_one_line(case: Case, server: Server, tmp_path: Path) -> None:
    check(case, server, tmp_path / "place")


@pytest.mark.parametrize("name", downloads.ANSWERS)
def test_a_server_that_sends_something_else_leaves_no_file(name: str, server: Server, tmp_path: Path) -> None:
    answer, message = downloads.ANSWERS[name]
    with downloads.server(answer) as address:
        check(downloads.case(name, message, address), server, tmp_path / "place")
    left = [path for path in (tmp_path / "place" / "home").rglob("*") if path.is_file()]
    assert left == []


def test_the_corpus_is_as_large_as_promised() -> None:
    assert len(CORPUS) + len(downloads.ANSWERS) >= 250
