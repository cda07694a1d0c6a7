"""Every case of the corpus ends with one line or does no harm; see ``tests.badinput.place.check``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.badinput import datasets, studies
from tests.badinput.place import Case, Server, check

CORPUS = {module.__name__.rpartition(".")[2]: list(module.cases()) for module in (datasets, studies)}


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=f"{kind}: {case.name}") for kind, cases in CORPUS.items() for case in cases]
)
def test_bad_input_ends_with_one_line(case: Case, server: Server, tmp_path: Path) -> None:
    check(case, server, tmp_path / "place")
