"""The example of a teacher: a file of scores that PyKEEN made, read, distilled from, and refused where it is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from harness.data import TemporalGraph, both_directions, load
from harness.distill.targets import SoftTargets
from harness.errors import UserError
from harness.store import frames
from harness.teachers.sources import TEACHERS, Asked, listed_targets
from harness.trial.keys import refuse_impossible
from harness.trial.spec import TrialSpec
from tests.examples.conftest import EXAMPLES, Desk
from tests.examples.plugin import loaded
from tests.toy import write_dataset

FILE = EXAMPLES / "teacher_from_scores.py"
Columns = dict[str, Any]


def pykeen_scores(graph: TemporalGraph) -> np.ndarray[Any, Any]:
    """Log-probabilities [2N, E] of a PyKEEN model with random vectors, which knows no time."""
    from pykeen.models import TransE
    from pykeen.triples import CoreTriplesFactory

    queries, n_relations = both_directions(graph.train, len(graph.relations)), len(graph.relations)
    triples = torch.from_numpy(np.stack([graph.train.head, graph.train.relation, graph.train.tail], 1))
    factory = CoreTriplesFactory(triples, num_entities=len(graph.entities), num_relations=n_relations)
    model = TransE(triples_factory=factory, embedding_dim=8, random_seed=0).eval()
    subject, relation = torch.from_numpy(queries.subject), torch.from_numpy(queries.relation)
    half = len(subject) // 2
    with torch.no_grad():
        tails = model.score_t(torch.stack([subject[:half], relation[:half]], 1))
        heads = model.score_h(torch.stack([relation[half:] - n_relations, subject[half:]], 1))
    return torch.cat([tails, heads]).log_softmax(1).numpy()


def columns(graph: TemporalGraph, most: int = 10) -> Columns:
    log_p = pykeen_scores(graph)
    best = np.argsort(-log_p, axis=1)[:, :most]
    return {"entities": list(best), "log_probabilities": list(np.take_along_axis(log_p, best, 1))}


def write(path: Path, content: Columns, digest: str) -> Path:
    pq.write_table(pa.table(content).replace_schema_metadata({"data_digest": digest}), path)
    return path


def read(graph: TemporalGraph, path: Path, most: int = 10, temperature: float = 1.0) -> SoftTargets:
    """The targets that the plugin makes of a file."""
    asked = Asked(graph, both_directions(graph.train, len(graph.relations)), most)
    with loaded(FILE):
        teacher = TEACHERS["scores"]
        return listed_targets(teacher, asked, teacher.options.model_validate({"file": str(path)}), temperature)


def test_what_is_listed_is_the_models_distribution_at_any_temperature(tmp_path: Path) -> None:
    graph = load(str(write_dataset(tmp_path / "toy")))
    every = len(graph.entities)
    path = write(tmp_path / "scores.parquet", columns(graph, every), graph.digest)
    soft = read(graph, path, every, 3.0)
    dense = (torch.from_numpy(pykeen_scores(graph)) / 3.0).log_softmax(1)
    torch.testing.assert_close(soft.log_p, dense.gather(1, soft.ids.long()), rtol=1e-3, atol=1e-4)
    assert soft.log_rest.exp().max() < 1e-3


def test_what_is_not_listed_is_taken_as_equally_likely(tmp_path: Path) -> None:
    graph = load(str(write_dataset(tmp_path / "toy")))
    n_queries, others = 2 * len(graph.train), len(graph.entities) - 1
    content = {"entities": [[0]] * n_queries, "log_probabilities": [[math.log(0.5)]] * n_queries}
    path = write(tmp_path / "scores.parquet", content, graph.digest)
    soft = read(graph, path, 5, 2.0)
    first, remaining = math.sqrt(0.5), others * math.sqrt(0.5 / others)
    assert soft.log_p[0, 0].exp().item() == pytest.approx(first / (first + remaining), rel=1e-5)
    assert soft.log_rest[0].exp().item() == pytest.approx(remaining / (first + remaining), rel=1e-5)


def test_from_pykeen_to_the_report(desk: Desk) -> None:
    graph = load(str(desk.folder / "toy"))
    write(desk.folder / "scores.parquet", columns(graph), graph.digest)
    asked = ("--plugin", str(FILE), "--set", "teacher.source=scores", "--set", "teacher.scores.file=scores.parquet")
    pdf = desk.study(*asked, "--arms", "none,L1").stdout.splitlines()[-1]
    assert (desk.folder / pdf).is_file()
    trials, _, _ = frames.load(desk.url, "ablation", "./toy")
    assert set(trials["arm"]) == {"none", "L1"}
    assert "complete already" in desk.study(*asked, "--arms", "none,L1").stdout
    # another file under the same name is another teacher
    content = columns(graph)
    content["log_probabilities"] = [row - 0.01 for row in content["log_probabilities"]]
    write(desk.folder / "scores.parquet", content, graph.digest)
    assert "complete already" not in desk.study(*asked, "--arms", "none,L1").stdout


def test_what_needs_its_model_is_refused() -> None:
    spec = {"teacher": {"source": "scores"}}
    with loaded(FILE):
        with pytest.raises(UserError, match="needs 'entities', which teacher 'scores' does not yield"):
            refuse_impossible(TrialSpec.model_validate({**spec, "arm": "L1+FitNet"}))
        with pytest.raises(UserError, match="has no model that could be scored"):
            refuse_impossible(TrialSpec.model_validate({**spec, "arm": "teacher"}))
        with pytest.raises(UserError, match="unknown teacher 'score': did you mean 'scores'"):
            refuse_impossible(TrialSpec.model_validate({"arm": "L1", "teacher": {"source": "score"}}))


def _nan(content: Columns) -> Columns:
    rows = [row.copy() for row in content["log_probabilities"]]
    rows[3][0] = np.nan
    return {**content, "log_probabilities": rows}


def _ragged(content: Columns) -> Columns:
    return {name: [row[: 3 + k % 2] for k, row in enumerate(rows)] for name, rows in content.items()}


def _changed(name: str, row: int, place: int, value: float) -> Callable[[Columns], Columns]:
    def change(content: Columns) -> Columns:
        rows = [one.copy() for one in content[name]]
        rows[row][place] = value
        return {**content, name: rows}

    return change


WRONG: dict[str, tuple[Callable[[Columns], Columns], str]] = {
    "missing queries": (lambda c: {name: rows[:-1] for name, rows in c.items()}, "training queries"),
    "an id out of range": (_changed("entities", 2, 0, 40_000), "that the data does not have, first for query 2"),
    "NaN": (_nan, "a log-probability that is no number, first for query 3"),
    "a probability above 1": (_changed("log_probabilities", 1, 0, 0.5), "a probability above 1, first for query 1"),
    "rows of several lengths": (_ragged, "the same number"),
    "no such column": (lambda c: {"entities": c["entities"]}, "no Parquet file with entities"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_file_that_is_wrong_says_how(tmp_path: Path, wrong: str) -> None:
    graph = load(str(write_dataset(tmp_path / "toy")))
    change, message = WRONG[wrong]
    path = write(tmp_path / "scores.parquet", change(columns(graph)), graph.digest)
    with pytest.raises(UserError, match=message):
        read(graph, path)


def test_a_file_of_other_data_or_none_at_all_is_refused(tmp_path: Path) -> None:
    graph = load(str(write_dataset(tmp_path / "toy")))
    with pytest.raises(UserError, match="was made for data 000000000000"):
        read(graph, write(tmp_path / "scores.parquet", columns(graph), "0" * 64))
    pd.DataFrame({"a": [1]}).to_csv(tmp_path / "scores.csv")
    with pytest.raises(UserError, match="is no Parquet file"):
        read(graph, tmp_path / "scores.csv")


def test_a_file_that_is_not_named_is_one_line(desk: Desk) -> None:
    asked = ("--plugin", str(FILE), "--set", "teacher.source=scores", "--arms", "L1")
    assert "name it with --set teacher.scores.file=PATH" in desk.study(*asked, code=2).stderr
    assert not (desk.folder / "runs").exists()
