"""What a coordinator stores of a study's test queries."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.data import UNKNOWN, Facts, TemporalGraph, Vocabulary
from harness.engine.coordinator import queries_of
from harness.errors import UserError
from tests.store.samples import planned


def graph() -> TemporalGraph:
    """One class a year from 2000 to 2003, and test facts that touch 3, 1 and 2 of them."""
    rows = {"train": [(0, 0, 1, year, year) for year in range(2000, 2004)], "valid": []}
    rows["test"] = [(0, 0, 1, 2000, 2002), (1, 0, 2, 2003, 2003), (2, 1, 0, 2002, UNKNOWN)]
    splits = {name: Facts(*np.array(part, np.int64).reshape(-1, 5).T.copy()) for name, part in rows.items()}
    names = Vocabulary(("a", "b", "c"), ("A", "B", None)), Vocabulary(("r", "s"), ("R", "S"))
    return TemporalGraph("small", "year", *names, **splits, digest="")


def test_rows_of_expanded_name_the_queries_that_they_ask() -> None:
    run = planned("ablation")
    time = run.specs[0].time.model_copy(update={"classes": "width", "size": 1})
    specs = tuple(spec.model_copy(update={"protocol": "expanded", "time": time}) for spec in run.specs)
    plain, rows = queries_of(run, graph()), queries_of(replace(run, specs=specs), graph())
    assert plain["query"].tolist() == list(range(6))
    assert "asked" not in plain
    assert rows["query"].tolist() == list(range(12))
    assert rows["asked"].tolist() == [0, 0, 0, 1, 2, 2, 3, 3, 3, 4, 5, 5]
    for name in plain.columns.drop("query"):
        assert rows[name].tolist() == plain[name].to_numpy()[rows["asked"]].tolist()


@pytest.mark.parametrize("other", [{"protocol": "static"}, {"protocol": "expanded", "size": 7}])
def test_rows_of_expanded_stand_beside_nothing_else(other: dict[str, object]) -> None:
    run = planned("ablation")
    specs = [spec.model_copy(update={"protocol": "expanded"}) for spec in run.specs]
    time = specs[0].time.model_copy(update={"size": other.get("size", specs[0].time.size)})
    specs[-1] = specs[-1].model_copy(update={"protocol": other["protocol"], "time": time})
    with pytest.raises(UserError, match=r"^protocol=expanded: ranks a fact once for each time class"):
        queries_of(replace(run, specs=tuple(specs)), graph())
