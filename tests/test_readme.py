"""The README's tables are those of the published reports."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from harness.reporting.data.results import LoadRanks
from harness.store import frames
from harness.vocabulary import arm_name, backbone_name, by_level, dataset_name

ROOT = Path(__file__).parent.parent
PUBLISHED = ROOT / "reports" / "published"

#: the backbones of the README's tables
PAPERS = ("ttranse", "ta-distmult")


def markdown(dataset: str) -> str:
    """The README's table of a data set, made from the published one."""
    frame = pd.read_csv(PUBLISHED / f"ablation-{dataset}" / "ablation_table.csv", keep_default_na=False)
    rows = {(row["backbone"], row["arm"]): row for row in frame.to_dict("records")}
    names = " | ".join(f"{label}: MRR | MR | Hits@1 | Hits@10" for label in map(backbone_name, PAPERS))
    lines = [f"| arm | {names} |", "|---|" + "--:|" * 4 * len(PAPERS)]
    present = set(frame["arm"])
    for arm, label in ((arm, arm_name(arm)) for arm in by_level(present)):
        cells = []
        for backbone in PAPERS:
            row = rows[backbone, arm]
            half = (row["mrr_high"] - row["mrr_low"]) / 2
            mark = "" if row["interval"] == "seeds" else "†"
            cells.append(
                f"{row['mrr']:.4f} ± {half:.4f}{mark} | {row['mr']:.0f} | {row['hits1']:.3f} | {row['hits10']:.3f}"
            )
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def verdicts() -> str:
    """The README's table of verdicts, made from the published claims report."""
    frame = pd.read_csv(PUBLISHED / "claims" / "claims.csv", keep_default_na=False)
    lines = ["| claim | | what the studies say |", "|---|---|---|"]
    for (claim, text), rows in frame.groupby(["claim", "text"], sort=False):
        said: dict[str, list[str]] = {}
        for row in rows.to_dict("records"):
            where = f"{row['backbone']} on {dataset_name(row['dataset'])}" if row["backbone"] else ""
            said.setdefault(row["verdict"], []).append(where)
        stated = "; ".join(
            f"**{verdict}**{': ' if any(where) else ''}{', '.join(where)}" for verdict, where in said.items()
        )
        lines.append(f"| {claim} | {text} | {stated} |")
    return "\n".join(lines)


def load(dataset: str, folder: Path) -> tuple[pd.DataFrame, pd.DataFrame, LoadRanks]:
    shutil.copyfile(PUBLISHED / "harness.db", folder / "harness.db")  # opening a store may write to it
    return frames.load(f"sqlite:///{folder}/harness.db", "ablation", dataset, PUBLISHED / "artifacts")


@pytest.mark.parametrize("dataset", ["wiki", "yago"])
def test_table_is_the_published_one(dataset: str) -> None:
    assert markdown(dataset) in (ROOT / "README.md").read_text(encoding="utf-8")


def test_verdicts_are_those_of_the_published_claims_report() -> None:
    assert verdicts() in (ROOT / "README.md").read_text(encoding="utf-8")


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
