"""Data made ready: one file split, padding left out, names cleaned, steps declared."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.data import load
from harness.data.making.preparing import Wanted, prepare, shares_of
from harness.errors import UserError
from tests.data.named import facts

Write = Callable[..., Path]


@pytest.fixture
def one_file(tmp_path: Path) -> Path:
    """A hundred facts of fifty days, two of them repeated."""
    rows = [f"person {k % 7},met,person {(k * k) % 11},2014-05-{1 + k % 25:02d}" for k in range(100)]
    path = tmp_path / "facts.csv"
    path.write_text("\n".join(["head,relation,tail,date", *rows, rows[0], rows[1], ""]), "utf-8")
    return path


def test_one_file_is_split_by_time_or_at_random_by_a_seed(one_file: Path, tmp_path: Path) -> None:
    shares = (0.8, 0.1, 0.1)
    folder = prepare(one_file, None, Wanted(shares))
    assert folder == tmp_path / "facts-prepared"
    graph = load(str(folder))
    train, valid, test = (part.start for part in graph.splits.values())
    assert train.max() < valid.min()
    assert valid.max() < test.min()
    made = tomllib.loads((folder / "dataset.toml").read_text("utf-8"))["made"]
    assert (made["by"], made["split"], made["from"], len(made["sha256"])) == ("time", "0.8,0.1,0.1", "facts.csv", 64)

    by_seed = [prepare(one_file, tmp_path / f"{k}", Wanted(shares, "random", seed)) for k, seed in enumerate((1, 1, 2))]
    digests = [load(str(folder)).digest for folder in by_seed]
    assert digests[0] == digests[1] != digests[2]
    drawn = load(str(by_seed[0]))
    everything = sorted(fact for split in drawn.splits for fact in facts(drawn, split))
    assert everything == sorted(fact for split in graph.splits for fact in facts(graph, split))
    assert len(everything) == len(set(everything)) == 102 - made["repeated-facts-left-out"]
    assert [len(part) for part in drawn.splits.values()] == [80, 10, 10]

    with pytest.raises(UserError, match="facts-prepared: exists; remove it, or name another folder with --output"):
        prepare(one_file, None, Wanted(shares))
    with pytest.raises(UserError, match=r"facts.csv: is one file, or none; split one with --split 0.8,0.1,0.1"):
        prepare(one_file, tmp_path / "other", Wanted())
    with pytest.raises(UserError, match="--split: leaves no facts for valid"):
        prepare(one_file, tmp_path / "other", Wanted((0.98, 0.01, 0.01)))
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("text", ["0.8,0.1", "0.8,0.1,0.2", "1,0,0", "most,of,it", "nan,0.5,0.5", "1.2,-0.1,-0.1"])
def test_shares_that_are_none(text: str) -> None:
    with pytest.raises(UserError, match="give three shares whose sum is 1"):
        shares_of(text)


def test_padding_is_left_out_and_names_are_cleaned(write: Write, tmp_path: Path) -> None:
    four = write("four", train=["a\tr\tb\t1990"], valid=["a\tr\tb\t1991"], test=["b\tr\ta\t1992"])
    padded = write("padded", train=["a \tr\tb\t1990\t-1"], valid=["a\tr\tb\t1991\t-1"], test=["b\tr \ta\t1992\t-1"])
    clean = prepare(padded, tmp_path / "clean", Wanted(columns=4, cleaned=True))
    assert load(str(clean)).digest == load(str(four)).digest
    assert load(str(prepare(four, None, Wanted()))).digest == load(str(four)).digest


def test_ids_labels_and_names_without_facts_are_kept(write: Write) -> None:
    row = ["0\t0\t2\t1990\t1991"]
    folder = write(train=row, valid=row, test=row, entities_tsv="id\tname\tlabel\n0\tQ1\tRome\n1\tQ2\t\n2\tQ3\tann\n")
    assert load(str(prepare(folder, None, Wanted()))).digest == load(str(folder)).digest


def test_steps_have_the_unit_that_is_declared(write: Write, tmp_path: Path) -> None:
    rows = {split: [f"a\tr\tb\t{step}"] for split, step in (("train", 1388534400), ("valid", 15), ("test", 30))}
    folder = write(**rows)
    with pytest.raises(
        UserError, match=r"'1388534400' is not a date \(if times are steps, 'python -m .* --time-unit' says so"
    ):
        load(str(folder))
    graph = load(str(prepare(folder, None, Wanted(unit="15min"))))
    assert (graph.granularity, graph.train.start.tolist()) == ("step", [1388534400])
    assert graph.about.endswith("steps of 15min")
    with pytest.raises(UserError, match="--time-unit: 'fortnight' is no unit; write year or day for dates"):
        prepare(folder, tmp_path / "other", Wanted(unit="fortnight"))
    (folder / "dataset.toml").write_text("time-unit = 15\n", "utf-8")
    with pytest.raises(UserError, match=r"dataset.toml: time-unit: '15' is no unit"):
        load(str(folder))
    days = {split: [f"a\tr\tb\t2014-05-0{k}"] for k, split in enumerate(("train", "valid", "test"), 1)}
    assert load(str(prepare(write("days", **days), None, Wanted(unit="year")))).granularity == "year"
