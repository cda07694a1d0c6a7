"""The example of a loss: its formula, and the way of a user from the command line to the report."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import optuna
import pandas as pd
import pytest
import torch
from optuna.distributions import IntDistribution

from harness.design.cells import plan
from harness.design.files import load
from harness.design.settings import parse_changes
from harness.distill.losses import LOSSES
from harness.distill.passes.sampled import Candidates
from harness.distill.passes.step import Step
from harness.distill.targets import SoftTargets
from harness.errors import UserError
from harness.models import TTransE
from harness.models.base import scores
from harness.models.batch import QueryTensors
from harness.store import frames
from harness.store.outside import METHODS, attributes_of, refuse_other_code
from harness.trial.arms import check_arm
from harness.trial.spec import TrialSpec
from tests.examples.conftest import EXAMPLES, Desk
from tests.examples.plugin import loaded

FILE = EXAMPLES / "loss_dkd.py"


@pytest.fixture
def plugin() -> Iterator[None]:
    with loaded(FILE):
        yield


def step(listed: int, *, sampled: bool) -> tuple[Step, torch.Tensor, torch.Tensor, torch.Tensor]:
    """A step whose teacher lists some of 12 entities; and both models' scores [B, E] and the answers [B]."""
    torch.manual_seed(0)
    student = TTransE(12, 2, 3, 4)
    torch.nn.init.normal_(student.entity.weight)
    batch = QueryTensors(torch.arange(5), torch.arange(5) % 4, torch.zeros(5, 2, dtype=torch.long), torch.arange(5) + 3)
    teacher, t = torch.randn(5, 12) * 3, 2.0
    log_p = (teacher / t).log_softmax(1)
    best, ids = log_p.topk(listed, 1)
    others = log_p.scatter(1, ids, -torch.inf).logsumexp(1)
    soft = SoftTargets(ids.int(), best, others, t)
    candidates = Candidates(torch.arange(12)) if sampled else None
    made = Step.of(student, batch, torch.arange(5), soft, candidates)
    z = scores(made.query, made.table, student.kernel, student.scale())
    return made, teacher, z, batch.answer


@pytest.mark.parametrize("sampled", [False, True])
def test_it_is_the_formula_of_the_paper(plugin: None, sampled: bool) -> None:
    """Eq. 7, written out over all entities."""
    made, teacher, z, answer = step(12, sampled=sampled)
    loss = LOSSES["MyDKD"]
    options: Any = loss.options.model_validate({"target": 0.7, "others": 3.0})
    p, q = (teacher / 2.0).softmax(1), (z / 2.0).softmax(1)
    rows = torch.arange(5)
    p_t, q_t = p[rows, answer], q[rows, answer]
    target = p_t * (p_t / q_t).log() + (1 - p_t) * ((1 - p_t) / (1 - q_t)).log()
    is_other = torch.ones_like(p).scatter(1, answer[:, None], 0.0)
    p_hat, q_hat = p * is_other / (1 - p_t)[:, None], q * is_other / (1 - q_t)[:, None]
    others = torch.where(is_other > 0, p_hat * (p_hat / q_hat).log(), 0.0).nan_to_num(0.0).sum(1)
    term = loss.prepare(None, options)
    assert callable(term)
    torch.testing.assert_close(term(made), 4.0 * (0.7 * target + 3.0 * others).mean(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("sampled", [False, True])
def test_distributions_add_up_to_one_and_agree_on_what_they_list(plugin: None, sampled: bool) -> None:
    made, teacher, z, answer = step(4, sampled=sampled)
    for outcomes, every in ((made.teacher, teacher), (made.student, z)):
        log_p = outcomes.log_probabilities
        torch.testing.assert_close(log_p.exp().sum(1), torch.ones(5), rtol=1e-4, atol=1e-4)
        dense = (every / 2.0).log_softmax(1)
        listed = dense.gather(1, made.soft.ids.long())
        same = made.soft.ids == answer[:, None]
        torch.testing.assert_close(log_p[:, 1:-1][~same], listed[~same], rtol=1e-3, atol=1e-3)
    dense = (z / 2.0).log_softmax(1)[torch.arange(5), answer]
    torch.testing.assert_close(made.student.log_probabilities[:, 0], dense, rtol=1e-3, atol=1e-3)


def test_arms_with_it(plugin: None) -> None:
    assert check_arm("CE+MyDKD") == "MyDKD"
    assert check_arm("MyDKD+L2") == "L2+MyDKD"
    with pytest.raises(UserError, match="MyDKD and L1 exclude each other"):
        check_arm("L1+MyDKD")


def test_from_the_command_line_to_the_report(desk: Desk) -> None:
    asked = ("--plugin", str(FILE), "--arms", "none,L1,CE+MyDKD", "--set", "MyDKD.others=4")
    pdf = desk.study(*asked).stdout.splitlines()[-1]
    assert (desk.folder / pdf).is_file()
    trials, curves, _ = frames.load(desk.url, "ablation", "./toy")
    assert set(trials["arm"]) == {"none", "L1", "MyDKD"}
    (trial,) = trials.loc[trials["arm"] == "MyDKD", "trial"]
    assert curves.loc[curves["trial"] == trial, "loss_mydkd"].notna().all()
    assert "complete already" in desk.study(*asked).stdout  # a second start does nothing
    shown = desk.run("describe", "ablation", "--all", "--plugin", str(FILE)).stdout
    assert "loss.MyDKD.others" in shown
    assert "weight of MyDKD's non-target-class part" in shown
    # the report can be made again by whoever does not have the plugin, with its label
    again = desk.run("ablation", "--dataset", "./toy", module="harness.report").stdout.splitlines()[-1]
    assert (desk.folder / again).is_file()


GRID = """
name: weights
title: The weight of MyDKD's non-target part
about: A grid over an option of a plugin.
arms: [L1, MyDKD]
grid: {loss.MyDKD.others: [1, 8]}
report: sensitivity
backbone: ttranse
settings:
  time: {size: 40}
  student: {dim: 8, epochs: 2, stage1_epochs: 1, batch_size: 64}
  teacher: {dim: 16, epochs: 1, batch_size: 64}
  loss: {targets: 16}
presets:
  default: {about: one seed, seeds: 1}
"""


def test_a_study_of_ones_own_varies_its_options(desk: Desk) -> None:
    (desk.folder / "weights.yaml").write_text(GRID, encoding="utf-8")
    done = desk.run("run", "weights.yaml", "--dataset", "./toy", "--jobs", "1", "--plugin", str(FILE))
    assert (desk.folder / done.stdout.splitlines()[-1]).is_file()
    study, *_ = optuna.get_all_study_summaries(desk.url)
    trials = optuna.load_study(study_name=study.study_name, storage=desk.url).trials
    levels = {trial.params.get("loss.MyDKD.others") for trial in trials}
    assert levels == {None, 1, 8}
    (ranges,) = {trial.distributions.get("loss.MyDKD.others") for trial in trials} - {None}
    assert ranges == IntDistribution(1, 8)
    again = desk.run("run", "weights", "--dataset", "./toy", module="harness.report").stdout.splitlines()[-1]
    effects = pd.read_csv((desk.folder / again).parent / "weights_ranges.csv")
    assert set(effects["factor"]) == {"loss.MyDKD.others"}


def test_edited_code_under_one_version_is_refused() -> None:
    stored = [{}, {METHODS: {"loss MyDKD": [1, "0" * 16]}}]
    with loaded(FILE):
        mine = attributes_of([TrialSpec(arm="MyDKD").acting()])
    assert mine[METHODS]["loss MyDKD"][0] == 1
    with pytest.raises(UserError, match=r"loss MyDKD: storage URL has results of version 1 from other code"):
        refuse_other_code(stored, mine, "URL")
    refuse_other_code([mine, {METHODS: {"loss MyDKD": [2, "0" * 16]}}], mine, "URL")


@pytest.mark.slow
def test_edited_code_under_one_version_is_refused_by_the_command_line(desk: Desk) -> None:
    mine = desk.folder / "loss_dkd.py"
    shutil.copy(FILE, mine)
    desk.study("--plugin", str(mine), "--arms", "MyDKD")
    mine.write_text(mine.read_text("utf-8").replace("options.target * target", "0.5 * target"), encoding="utf-8")
    refused = desk.study("--plugin", str(mine), "--arms", "MyDKD", code=2)
    assert "has results of version 1 from other code" in refused.stderr
    mine.write_text(mine.read_text("utf-8").replace("version=1", "version=2"), encoding="utf-8")
    desk.study("--plugin", str(mine), "--arms", "MyDKD")


@pytest.mark.parametrize(
    ("arm", "change", "message"),
    [
        ("L1+MyDKD", "alpha=1", "MyDKD and L1 exclude each other"),
        ("MyDKD", "MyDKD.others=-1", "greater than or equal to 0"),
        ("MyDKD", "MyDKD.other=1", "did you mean 'loss.MyDKD.others'"),
        ("L1+MyDKK", "alpha=1", "there is no loss 'MyDKK'"),
    ],
)
def test_what_cannot_be_says_why(plugin: None, arm: str, change: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan(
            load("ablation"),
            dataset="toy",
            data_digest="d",
            backbones=["ttranse"],
            preset="quick",
            arms=[arm],
            changes=parse_changes([change]),
        )
