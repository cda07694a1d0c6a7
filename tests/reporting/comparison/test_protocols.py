"""The table of all protocols, and rows of protocol ``expanded`` as facts, against sums written out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.errors import UserError
from harness.reporting.comparison.protocols import by_protocol, protocols_table
from harness.reporting.data.frames import ranked
from harness.reporting.data.published import published_figures
from harness.stats import mean_interval
from harness.vocabulary import METRICS, PROTOCOLS
from tests.reporting.conftest import LAYOUT, metrics

Make = Callable[..., Any]


def scored(frames: Make, **others: float) -> Any:
    """A study whose trials have an MRR under other protocols: that of test, times a factor."""
    study = frames(facts=40, arms=("none", "L1", "teacher"))
    for protocol, factor in others.items():
        study.trials[f"test_{protocol}_mrr"] = study.trials["test_mrr"] * factor
    return study.of(LAYOUT)


def test_each_protocol_has_the_mean_of_its_trials(frames: Make) -> None:
    given = scored(frames, static=1.1, expanded=0.5)
    rows = by_protocol(given.results())
    mrr = rows[rows["metric"] == "mrr"].set_index(["arm", "protocol"])
    assert set(mrr.index) == {
        (arm, name) for arm in ("none", "L1", "teacher") for name in ("time-aware", "static", "expanded")
    }
    assert mrr[mrr["own"]].index.get_level_values("protocol").unique().tolist() == ["time-aware"]
    values = given.trials[given.trials["arm"] == "L1"]["test_mrr"].to_numpy()
    for protocol, factor in (("time-aware", 1.0), ("static", 1.1), ("expanded", 0.5)):
        row, interval = mrr.loc["L1", protocol], mean_interval(values * factor)
        assert (row["mean"], row["low"], row["high"], row["n"]) == pytest.approx(
            (interval.estimate, interval.low, interval.high, 3)
        )


def test_published_models_stand_in_the_column_of_their_protocol_alone(frames: Make) -> None:
    results = scored(frames, static=1.1, timeplex=0.9).results()
    figures = published_figures("wiki")
    table = protocols_table(by_protocol(results), figures, results.trials, "ttranse")
    assert table.header == ("", *(f"{name}*" if name == "time-aware" else name for name in PROTOCOLS))
    shown = {row.cells[0].text: [cell.text for cell in row.cells[1:]] for row in table.rows}
    stated = {row["model"]: row for row in figures if isinstance(row["protocol"], str)}
    assert list(shown)[3:] == list(stated)
    assert "TTransE" not in shown  # nobody says how it was ranked
    for model, row in stated.items():
        of_model = dict(zip(PROTOCOLS, shown[model], strict=True))
        assert {name for name, text in of_model.items() if text != "–"} == {row["protocol"]}
        assert float(of_model[row["protocol"]]) == round(row["mrr"], 3)


def test_trials_of_one_protocol_make_no_table(frames: Make) -> None:
    results = scored(frames).results()
    assert not protocols_table(by_protocol(results), published_figures("wiki"), results.trials, "ttranse").rows


def test_published_protocols_are_those_of_the_harness() -> None:
    stated = [row["protocol"] for name in ("yago", "wiki", "icews14") for row in published_figures(name)]
    assert {protocol for protocol in stated if isinstance(protocol, str)} <= set(PROTOCOLS)


def test_rows_of_a_fact_count_each_and_facts_are_the_units() -> None:
    """Three facts with one, two and four rows a direction."""
    asked = np.repeat(np.arange(6), [1, 2, 4, 1, 2, 4])
    rank = np.random.default_rng(0).integers(1, 30, len(asked)) / 1.0
    frame = pd.DataFrame({"query": np.arange(len(asked)), "asked": asked, "rank": rank})
    frame["direction"] = np.where(asked < 3, "tail", "head")
    frame["relation"] = np.array(["a", "b", "c"])[asked % 3]
    trial = pd.Series({"arm": "L1", "backbone": "ttranse", "seed": 0, **metrics("test", rank)})
    of_trial = ranked(frame.sample(frac=1, random_state=1), trial)
    relations, values = of_trial.asked.relations, of_trial.values()
    assert relations.tolist() == ["a", "b", "c"]
    assert values.shape == (2, 3, len(METRICS))
    assert values.mean(axis=(0, 1)) == pytest.approx([trial[f"test_{metric.key}"] for metric in METRICS])
    for fact in range(3):
        of_fact = rank[asked == fact]
        assert values[0, fact, 0] == pytest.approx((1 / of_fact).sum() * 6 / len(asked))
    with pytest.raises(UserError, match="one tail and one head query of every test fact"):
        ranked(frame[frame["asked"] != 2].assign(query=range(len(frame) - 4)), trial)
