"""From a trial to a student's file: from the kept state or one trained again, with calibrated probabilities."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy.optimize import minimize_scalar
from torch import Tensor

from harness import evaluate
from harness.data import UNKNOWN, Timeline
from harness.data.graph import Facts
from harness.distill.rounding import Bits
from harness.errors import UserError
from harness.evaluate import RankTask
from harness.models import BACKBONES, Backbone
from harness.models.base import scores
from harness.stats import mean_intervals
from harness.student.fileformat import About, StudentFile, write
from harness.teachers.gaps import BesideGaps, Gaps
from harness.trial.arms import REFERENCES
from harness.trial.inputs import Inputs, inputs
from harness.trial.provenance import environment
from harness.trial.run import STUDENTS, rounded_tensors, run_trial
from harness.trial.spec import TrialSpec
from harness.trial.stages import Context, Stages

#: validation queries that the temperature of probabilities is fitted on, and scores of them, at most
CALIBRATION, SCORES = 4096, 2**26


@dataclass(frozen=True, eq=False)
class Exported:
    """A student's file as bytes, and the test ranks [2N] that it gives."""

    content: bytes
    about: About
    ranks: NDArray[np.float64]


def export(spec: TrialSpec, context: Context, *, facts: bool = True) -> Exported:
    """Make the file of a trial's student.

    Args:
        spec: of the trial.
        context: where data and cache are. The state comes from the cache if the trial kept it there; else it is
            trained again.
        facts: whether the file has the known facts, so that answers can be marked as known.

    Raises:
        UserError: the trial has no student.
        TrialError: training it again fails.
    """
    spec = spec.acting()
    if spec.arm in REFERENCES:
        raise UserError(f"arm {spec.arm!r}: is no student; a student's file is made of an arm such as L1+L2+L3")
    stages = Stages(spec, context)
    if not stages.cache.has(STUDENTS, stages.student_key()):
        run_trial(spec, context)
    state = stages.cache.get_or_build(STUDENTS, stages.student_key(), _lost).tensors
    return exported(spec, stages.inputs, state, environment(context), spec.student.bits, facts=facts)


def _lost() -> Any:
    raise UserError("the student's state left the cache while it was read; run the same command again")


def exported(
    spec: TrialSpec, data: Inputs, state: dict[str, Tensor], provenance: dict[str, Any], bits: Bits, *, facts: bool
) -> Exported:
    """The file of a student with this state, rounded to ``bits``."""
    model = _untrained(spec, data)
    model.load_state_dict(rounded_tensors(state, bits))
    model.eval()
    ranks = evaluate.ranks(model, data.task("test", model.time_input).to("cpu"))
    stated = {
        "temperature": calibrated(model, data.task("valid", model.time_input).to("cpu")),
        "metrics": {name: value for name, value in evaluate.metrics(ranks).items() if math.isfinite(value)},
        "intervals": _intervals(ranks),
        "provenance": provenance,
    }
    content, about = _written(with_bits(spec, bits), data, state, stated, facts=facts)
    return Exported(content, about, ranks)


def untrained(spec: TrialSpec, data: Inputs) -> bytes:
    """The file of a trial's student before training: as large as the trained one, and as fast."""
    return _written(spec, data, _untrained(spec, data).state_dict(), {}, facts=True)[0]


def _alone(spec: TrialSpec, data: Inputs) -> Backbone:
    kind = BACKBONES[spec.backbone]
    sizes = len(data.graph.entities), len(data.graph.relations), data.n_times(kind.time_input)
    return kind(*sizes, spec.student.dim, **spec.student.options(spec.backbone))


def _untrained(spec: TrialSpec, data: Inputs) -> Backbone:
    alone = _alone(spec, data)
    return BesideGaps(alone, Gaps.of(data.graph), data.timeline) if spec.student.gaps else alone


def _written(
    spec: TrialSpec, data: Inputs, state: dict[str, Tensor], stated: dict[str, Any], *, facts: bool
) -> tuple[bytes, About]:
    """The file of a student with this state, and what it states."""
    graph, alone = data.graph, _alone(spec, data)
    assert alone.time_input != "points"  # that of reference rows alone
    known = np.concatenate([graph.train.start, graph.train.end])
    known = known[known != UNKNOWN]
    about = About(
        backbone=spec.backbone,
        kernel=alone.kernel,
        time_input=alone.time_input,
        granularity=graph.granularity,
        dim=spec.student.dim,
        bits=spec.student.bits,
        tensors={},
        first_time=int(known.min()) if len(known) else None,
        last_time=int(known.max()) if len(known) else None,
        dataset=graph.name,
        data_digest=graph.digest,
        spec=spec.model_dump(mode="json"),
        **stated,
    )
    # those that gaps are looked up in are known as well, and stored once
    looked_up, other = (graph.train, [graph.valid, graph.test]) if spec.student.gaps else (None, graph.splits.values())
    known_facts = Facts(*(np.concatenate([part.columns[n] for part in other]) for n in graph.train.columns))
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in state.items()}
    names = graph.entities, graph.relations
    return write(about, arrays, data.timeline.last, *names, known_facts if facts else None, looked_up), about


def with_bits(spec: TrialSpec, bits: Bits) -> TrialSpec:
    """The same trial with a student of so many bits."""
    return spec.model_copy(update={"student": spec.student.model_copy(update={"bits": bits})})


def _intervals(ranks: NDArray[np.float64]) -> dict[str, tuple[float, float]]:
    """Intervals over test facts of the metrics that are means over queries."""
    half = len(ranks) // 2
    if half < 2:
        return {}
    of_queries = {"mrr": 1 / ranks, **{f"hits{k}": (ranks <= k).astype(float) for k in evaluate.HITS}}
    of_facts = np.stack([values.reshape(2, half).mean(0) for values in of_queries.values()], axis=1)
    intervals = mean_intervals(of_facts[None])
    return {name: (one.low, one.high) for name, one in zip(of_queries, intervals, strict=True)}


@torch.no_grad()
def calibrated(model: Backbone, task: RankTask) -> float:
    """The temperature that makes softmax probabilities of scores fit best: it minimises the negative log-likelihood of
    validation answers, each among the entities that are no other known answer (Guo et al., ICML 2017)."""
    most = min(CALIBRATION, max(SCORES // model.n_entities, 1))
    rows = torch.randperm(len(task.queries), generator=torch.Generator().manual_seed(0))[:most]
    if len(rows) == 0:
        return 1.0
    batch = task.queries[rows]
    position = torch.full((len(task.queries),), -1)
    position[rows] = torch.arange(len(rows))
    asked = batch.subject, batch.relation, batch.time
    if model.has_vectors:
        z = scores(model.encode(*asked), model.entity_table(), model.kernel, model.scale())
    else:
        z = model.direct_scores(*asked)
    chosen = position[task.row] >= 0
    z[position[task.row][chosen], task.entity[chosen]] = -torch.inf
    gold = z.gather(1, batch.answer[:, None])[:, 0]

    def loss(log_t: float) -> float:
        t = math.exp(log_t)
        return float(((z / t).logsumexp(1) - gold / t).double().mean())

    return math.exp(float(minimize_scalar(loss, bounds=(-5.0, 5.0), method="bounded", options={"xatol": 1e-3}).x))


def model_of(content: StudentFile) -> Backbone:
    """The student as a PyTorch module.

    Raises:
        UserError: its backbone is not there, or is another than that of the tables.
    """
    about = content.about
    if about.backbone not in BACKBONES:
        raise UserError(f"backbone {about.backbone!r}: is not there; load its plugin with --plugin")
    spec, tensors = spec_of(about), content.tensors
    n_times = len(content.times) + 1
    sizes = len(content.entities), len(content.relations), n_times
    model = BACKBONES[about.backbone](*sizes, about.dim, **spec.student.options(about.backbone))
    if content.looked_up is not None:
        gaps = Gaps(content.looked_up, len(content.entities), len(content.relations))
        model = BesideGaps(model, gaps, Timeline(about.granularity, content.times))
    try:
        model.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in tensors.items()})
    except RuntimeError:
        raise UserError(f"the student is damaged (not the tables of {about.backbone!r}); export it again") from None
    return model.eval()


def spec_of(about: About) -> TrialSpec:
    """The trial that a student's file states.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return TrialSpec.model_validate(about.spec)
    except ValidationError as error:
        where = ".".join(map(str, error.errors(include_url=False)[0]["loc"]))
        raise UserError(f"the student's settings cannot be read ({where}); load its plugin with --plugin") from None


def evaluated(content: StudentFile, data: Inputs) -> NDArray[np.float64]:
    """Test ranks [2N] of a student's file under the protocol of ``data``, by the code that ranks trials.

    Raises:
        UserError: the file is of other data, of a backbone that is not there, or damaged.
    """
    about, model = content.about, model_of(content)
    if about.data_digest != data.graph.digest:
        raise UserError(
            f"data {data.graph.name!r}: is not what the student was trained on "
            f"({about.dataset!r}, digest {about.data_digest[:12]}); its ids would mean other entities"
        )
    try:
        return evaluate.ranks(model, data.task("test", model.time_input).to("cpu"))
    except evaluate.NotFiniteError:
        raise UserError("the student is damaged (its scores are not finite); export it again") from None


def inputs_of(about: About, dataset: str, context: Context, protocol: str | None = None) -> Inputs:
    """The data that a student's file is scored on, under the file's own protocol unless another is named."""
    spec = spec_of(about)
    return inputs(dataset, context.data_dir, spec.time, protocol or spec.protocol, "cpu", spec.validation_filter)
