"""The tables of the README and of the page of claims are those of the published reports."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from harness.reporting.data.results import LoadRanks
from harness.reporting.harm import ALL
from harness.store import frames
from harness.vocabulary import CLAIMS, arm_name, backbone_name, by_level, dataset_name

ROOT = Path(__file__).parent.parent
PUBLISHED = ROOT / "reports" / "published"

#: the backbones of the README's tables
PAPERS = ("ttranse", "ta-distmult")


def table_of(dataset: str) -> pd.DataFrame:
    """The published table of an ablation, by arm and backbone."""
    frame = pd.read_csv(PUBLISHED / f"ablation-{dataset}" / "ablation_table.csv", keep_default_na=False)
    return frame.set_index(["arm", "backbone"])


def mrr(row: pd.Series) -> str:
    """A mean with half of its interval."""
    mark = "" if row["interval"] == "seeds" else "†"
    return f"{row['mrr']:.4f} ± {(row['mrr_high'] - row['mrr_low']) / 2:.4f}{mark}"


def short_table() -> str:
    """The README's table: MRR alone, both data sets side by side."""
    tables = {dataset: table_of(dataset) for dataset in ("wiki", "yago")}
    cases = [(dataset, backbone) for dataset in tables for backbone in PAPERS]
    lines = [f"| arm | {' | '.join(f'{dataset_name(d)}, {backbone_name(b)}' for d, b in cases)} |"]
    lines += ["|---|" + "--:|" * len(cases)]
    for arm in by_level(set(tables["wiki"].index.get_level_values(0))):
        lines.append(f"| {arm_name(arm)} | {' | '.join(mrr(tables[d].loc[arm, b]) for d, b in cases)} |")
    return "\n".join(lines)


def matrix() -> str:
    """The matrix of verdicts on the page of claims, from the published claims report."""
    frame = pd.read_csv(PUBLISHED / "claims" / "claims.csv", keep_default_na=False)
    lines = [
        "| | claim | study | wiki, TTransE | wiki, TA-DistMult | yago, TTransE | yago, TA-DistMult |",
        "|---|---|---|---|---|---|---|",
    ]
    for (claim, study), rows in frame.groupby(["claim", "study"], sort=False):
        verdict = {}
        for row in rows.to_dict("records"):
            for backbone in row["backbone"].split(" and "):
                verdict[row["dataset"], backbone] = row["verdict"]
        cases = [(d, b) for d in ("wiki", "yago") for b in ("TTransE", "TA-DistMult")]
        others = {(d, b): v for (d, b), v in verdict.items() if d and (d, b) not in cases}
        named = {(d, b): "all cases" if d == ALL else f"{dataset_name(d)}, {b}" for d, b in others}
        elsewhere = "; ".join(f"{named[case]}: {word}" for case, word in others.items())
        cells = [verdict.get(case, "–") for case in cases]
        text = f"{CLAIMS[claim]}{f' ({elsewhere})' if elsewhere else ''}"
        lines.append(f"| {claim} | {text} | `{study}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def load(dataset: str, folder: Path) -> tuple[pd.DataFrame, pd.DataFrame, LoadRanks]:
    shutil.copyfile(PUBLISHED / "harness.db", folder / "harness.db")  # opening a store may write to it
    return frames.load(f"sqlite:///{folder}/harness.db", "ablation", dataset, PUBLISHED / "artifacts")


def test_tables_are_the_published_ones() -> None:
    assert short_table() in (ROOT / "README.md").read_text(encoding="utf-8")
    assert matrix() in (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("dataset", ["wiki", "yago"])
def test_published_report_names_its_commit_and_command(dataset: str, tmp_path: Path) -> None:
    about = (PUBLISHED / f"ablation-{dataset}" / "RUN.md").read_text(encoding="utf-8")
    trials, _, _ = load(dataset, tmp_path)
    (commit,) = trials["git_commit"].unique()
    assert f"- commit: {commit}\n" in about
    assert not trials["git_dirty"].any()
    assert f"--dataset {dataset}" in about
    assert (PUBLISHED / f"ablation-{dataset}" / "ablation.pdf").stat().st_size > 10_000


@pytest.mark.parametrize("dataset", ["wiki", "yago"])
def test_published_store_holds_the_published_table(dataset: str, tmp_path: Path) -> None:
    trials, curves, load_ranks = load(dataset, tmp_path)
    # five arms, five seeds, two backbones, and their reference rows
    assert trials["state"].tolist() == ["complete"] * 54
    assert len(curves) > 54
    table = pd.read_csv(PUBLISHED / f"ablation-{dataset}" / "ablation_table.csv").set_index(["backbone", "arm"])
    means = trials.groupby(["backbone", "arm"])["test_mrr"].mean()
    pd.testing.assert_series_equal(means.sort_index(), table["mrr"].sort_index(), check_names=False)
    ranks = load_ranks(trials.index[0])["rank"]
    assert (1 / ranks).mean() == pytest.approx(trials["test_mrr"].iloc[0])
