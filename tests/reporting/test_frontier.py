"""From a study of dimensions and bits to its report: the Pareto front against a brute-force one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.reporting.frontier.report import draw_latency, frontier_table, summary
from harness.reporting.kinds import load_shipped
from tests.blank import blank
from tests.inside import Here
from tests.place import Place

load_shipped()

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def sizes(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> tuple[Place, pd.DataFrame]:
    place = Here(tmp_path_factory.mktemp("frontier"), tiny_encoder)
    options = [
        word
        for pair in zip(place.options[::2], place.options[1::2], strict=True)
        if "student.dim" not in pair[1]
        for word in pair
    ]
    with blank():
        done = place("frontier", "--preset", "quick", *options)
    assert done.returncode == 0, done.stderr
    return place, pd.read_csv(next((place.folder / "reports").rglob("frontier_sizes.csv")))


def test_bytes_and_front(sizes: tuple[Place, pd.DataFrame]) -> None:
    """Two dimensions by three numbers of bits by three arms, and the teacher of two members."""
    _, rows = sizes
    students = rows[rows["condition"] != "teacher"]
    assert students["condition"].value_counts().to_dict() == {"none": 6, "L1": 6, "random codes": 6}
    expected = {(24, "32"): 96, (24, "4"): 14, (24, "2"): 8, (96, "32"): 384, (96, "4"): 50, (96, "2"): 26}
    assert {(row.dim, str(row.bits)): row.bytes_entity for row in students.itertuples()} == expected
    for row in students.itertuples():
        better = students[
            (students["bytes_entity"] <= row.bytes_entity)
            & (students["mean"] >= row.mean)
            & ~((students["bytes_entity"] == row.bytes_entity) & (students["mean"] == row.mean))
        ]
        assert row.front == better.empty
    teacher = rows[rows["condition"] == "teacher"].iloc[0]
    assert teacher["bytes_entity"] == 2 * 4 * 16
    assert (students["latency_ms"] > 0).all()
    assert students.groupby(["dim", "bits"])["latency_ms"].nunique().eq(1).all()  # of one file, whichever arm
    assert np.isnan(teacher["latency_ms"])
    assert students["kept"].to_numpy() == pytest.approx(students["mean"] / teacher["mean"])


def test_the_report_states_the_best_student(sizes: tuple[Place, pd.DataFrame]) -> None:
    place, rows = sizes
    first = summary(rows.assign(backbone="tcomplex", bits=rows["bits"].astype(str)))[0]
    front = rows[rows["front"]].sort_values("bytes_entity")
    assert f"{int(front['bytes_entity'].iloc[-1])} bytes an entity" in first
    table = frontier_table(rows.assign(bits=rows["bits"].astype(str)), only_front=True)
    assert len(table.rows) == len(front)
    drawn = {path.name for path in (place.folder / "reports").rglob("*.pdf")}
    assert drawn >= {"tcomplex_frontier.pdf", "tcomplex_latency.pdf"}
    assert np.isfinite(rows["bytes_others"]).all()


@pytest.mark.draws
def test_latency_is_drawn(sizes: tuple[Place, pd.DataFrame], tmp_path: Path) -> None:
    rows = sizes[1].assign(bits=sizes[1]["bits"].astype(str))
    colors = dict.fromkeys(rows["condition"], "black")
    assert draw_latency(rows, colors, tmp_path / "latency.pdf")
    assert (tmp_path / "latency.pdf").stat().st_size > 5_000
    assert not draw_latency(rows.assign(latency_ms=np.nan), colors, tmp_path / "none.pdf")
    assert not (tmp_path / "none.pdf").exists()
