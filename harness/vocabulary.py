"""Names, order and colours of arms, losses, stages, backbones, data sets and metrics, once for everything shown.

What the package ships is declared here; a plugin's method is declared where it registers, or by the store that has
its results. Needs neither PyTorch nor a drawing library.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.errors import UserError, is_readable

#: Okabe and Ito, "Color Universal Design" (2008)
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GRAY, LIGHT = "#6E6E6E", "#D8D8D8"
#: by turns, for what has no colour (Tol's muted scheme without its lightest two, which are lost on white)
MORE_COLORS = ("#332288", "#44AA99", "#117733", "#CC6677", "#AA4499", "#661100", "#4477AA", "#AA7744", "#997700")


@dataclass(frozen=True)
class Term:
    """The label of a loss, backbone, teacher or stage, its colour ("#RRGGBB"; "": none) and its place in tables."""

    label: str
    color: str
    order: int


Kind = Literal["loss", "backbone", "teacher", "stage"]
LOSSES: dict[str, Term] = {}
BACKBONES: dict[str, Term] = {}
TEACHERS: dict[str, Term] = {}
STAGES: dict[str, Term] = {}
_TABLES: Mapping[str, dict[str, Term]] = {"loss": LOSSES, "backbone": BACKBONES, "teacher": TEACHERS, "stage": STAGES}


def declare(kind: Kind, name: str, label: str, colour: str | None = None) -> None:
    """Give a loss, backbone, teacher or stage its label, and its colour ("#RRGGBB"; None: by turns).

    Declared again, it keeps its place, and its colour.

    Raises:
        UserError: the label cannot be shown, or the colour is none.
    """
    if not 0 < len(label) <= 60 or not is_readable(label):
        raise UserError(f"{kind} {name!r}: a label has 1 to 60 characters, none of them control characters")
    if colour and not re.fullmatch(r"#[0-9A-Fa-f]{6}", colour):
        raise UserError(f"{kind} {name!r}: {colour!r} is no colour; write it as '#RRGGBB'")
    table = _TABLES[kind]
    known = table.get(name)
    table[name] = Term(label, colour or (known.color if known else ""), known.order if known else len(table))


_COLORS = {"L1": BLACK, "L2": BLUE, "L3": GREEN, "FitNet": SKY, "RKD-D": "#882255", "RKD-A": "#999933"}
for _name, _color in _COLORS.items():
    declare("loss", _name, _name, _color)
for _name, _label, _color in (
    ("DKD", "DKD", "#EE3377"),
    ("DIST", "DIST", "#7B5EA7"),
    ("RCE-KD", "RCE-KD", "#225522"),
    ("LSKD", "logit standardisation", "#CC3311"),
    ("CTKD", "learned temperature", "#8A5A00"),
):
    declare("loss", _name, _label, _color)
for _name, _label in (
    ("ttranse", "TTransE"),
    ("ta-distmult", "TA-DistMult"),
    ("tcomplex", "TComplEx"),
    ("tntcomplex", "TNTComplEx"),
    ("timeplex", "TIMEPLEX"),
    ("rotate-translate", "rotation + translation"),
    ("lifted", "lifted TComplEx"),
    ("telm", "TeLM"),
):
    declare("backbone", _name, _label)
declare("teacher", "ensemble", "ensemble")
declare("teacher", "distilled", "distilled teacher")
declare("teacher", "reranked", "reranked teacher")
for _name, _label, _color in (
    ("data", "read data", LIGHT),
    ("teacher", "structural teacher", BLUE),
    ("finetune", "LLM: fine-tune", VERMILION),
    ("encode", "LLM: encode", ORANGE),
    ("semantic", "LLM: train E(p)", YELLOW),
    ("llm-targets", "LLM: store targets", BLACK),
    ("rerank", "LLM: rerank", "#994F00"),
    ("targets", "store targets", PURPLE),
    ("teacher-vectors", "store vectors", "#8C564B"),
    ("gaps", "train gaps", "#5E6B00"),
    ("recurrence", "fit recurrence", "#117733"),
    ("stage1", "student, stage 1", GREEN),
    ("stage2", "student, stage 2", SKY),
    ("evaluate", "evaluate", GRAY),
    ("protocols", "other protocols", "#44AA99"),
):
    declare("stage", _name, _label, _color)

DATASETS = {
    "yago": "YAGO11k",
    "wiki": "Wikidata12k",
    "icews14": "ICEWS14",
    "icews05-15": "ICEWS05-15",
    "lahman": "Lahman baseball",
}
#: what the paper says, and from C15 to C20 what the harness says itself, as statements that studies test
CLAIMS = {
    "C1": "The full method beats BKD, FitNet and RKD by MRR, Hits@1, Hits@3 and Hits@10.",
    "C2": "L2 and L3 each add to L1; all three together are best.",
    "C3": "Two stages, L1 first and the language model later, beat one.",
    "C4": "With outliers among the LLM's scores, Huber is a more stable L2 than KL or MSE.",
    "C5": "The gain comes from what the language model knows, not from how training runs or starts.",
    "C6": "With the language model's losses the mean rank may get worse while Hits@k gets better.",
    "C7": "Results depend on α, β, δ and T, and there are defaults that work across data sets and backbones.",
    "C8": "T = 7 is a good temperature; higher ones blur fine differences in the ranking.",
    "C9": "Below some dimension of the student the language model no longer helps over BKD.",
    "C10": "A student of 25 dimensions keeps up with its teacher of 400.",
    "C11": "Distillation costs time and memory in training, and nothing at inference.",
    "C12": "Storing the outputs of both teachers saves most of that cost at equal quality.",
    "C13": "The gain of the full method carries over to other graphs (ICEWS14, ICEWS05-15).",
    "C14": "Teacher, fine-tuning and distillation together against training the teacher alone.",
    "C15": "At equal bytes wide students of few bits a number beat narrow ones of 32 bits.",
    "C16": "A student learns more from born-again and ensemble teachers than from a single one.",
    "C17": "With neighbourhood texts the language model is worth its cost.",
    "C18": "Gaps in time carry YAGO11k: teachers and students that know them beat those that do not.",
    "C19": "Tuned with equal budgets, some loss beats L1.",
    "C20": "Distillation harms where the undistilled student is as good as its teacher.",
    "C21": "The language model's gain lies in Hits@1 and Hits@3.",
}
#: what the ranking protocols leave out, in a sentence
PROTOCOLS = {
    "time-aware": "every other known answer whose time overlaps the query's is left out of the ranking",
    "static": "every other known answer is left out of the ranking, whatever its time",
    "raw": "nothing is left out of the ranking",
    "timeplex": "ranks in each year of the query's interval, known answers of that year left out, are averaged",
    "same-interval": "other known answers with exactly the same start and end are left out of the ranking",
    "expanded": "a fact is ranked once for each time class of its interval, known answers of that class left out, and "
    "each of these rows counts",
    "tkbi": "a fact is asked once, at its start; ranks without the answers known in a year are averaged over the years "
    "of its interval, which runs on where its end is not known",
}
#: which answers the ranking of a validation query leaves out, by setting ``validation_filter``
VALIDATION_FILTERS = {
    "train-valid": "known answers of training and validation facts are left out; test facts take no part in any choice",
    "all": "known answers of all facts, those of test included, are left out",
}
#: rows of models that are no students, last in every table
REFERENCES = ("teacher", "llm-teacher", "gaps", "recurrence")
#: arms that are no sum of losses
_SPECIAL = {
    "none": "no distillation",
    "teacher": "structural teacher",
    "llm-teacher": "LLM teacher",
    "gaps": "gaps in time",
    "recurrence": "recurrence baseline",
}
#: arms whose colour is not that of their last loss
_ARM_COLORS = {
    "none": GRAY,
    "L1+L2+L3": VERMILION,
    "L2+L3": "#8A7F00",
    "teacher": PURPLE,
    "llm-teacher": ORANGE,
    "gaps": "#5E6B00",
    "recurrence": "#117733",
}
#: between an arm and the levels of the factors that it is crossed with: "L1 · dim=5"
LEVELS = " · "
#: how labels of confirmation runs end, which have seeds that took no part in choosing; their role says so as well
FRESH_SEEDS = f"{LEVELS}fresh seeds"
#: settings that a study may vary, as formulas and figures call them
SYMBOLS = {
    "alpha": "α",
    "beta": "β",
    "delta": "δ",
    "temperature": "T",
    "stage1_epochs": "epochs of stage 1",
    "dim": "dimension",
}


def symbol_of(setting: str) -> str:
    """A setting in formulas and figures: its symbol, or the last part of its dotted name."""
    name = setting.rpartition(".")[2]
    return SYMBOLS.get(name, name)


@dataclass(frozen=True)
class Metric:
    """A metric of ranks: its column is ``test_<key>``; ``decimals`` are those of its mean."""

    key: str
    label: str
    decimals: int
    higher_is_better: bool


METRICS = (
    Metric("mrr", "MRR", 4, higher_is_better=True),
    Metric("mr", "MR", 0, higher_is_better=False),
    Metric("hits1", "Hits@1", 4, higher_is_better=True),
    Metric("hits3", "Hits@3", 4, higher_is_better=True),
    Metric("hits10", "Hits@10", 4, higher_is_better=True),
)
METRIC = {metric.key: metric for metric in METRICS}


def losses_of(arm: str) -> list[str] | None:
    """The losses of an arm such as "L1+L2"; none for "none"; None for what is no sum of declared losses."""
    if arm == "none":
        return []
    parts = arm.split("+")
    return parts if all(part in LOSSES for part in parts) else None


def arm_name(arm: str) -> str:
    """The name of an arm; that of a variant is the study's, and levels of factors stay as they are.

    >>> arm_name("L1+RKD-D"), arm_name("L1 · dim=5"), arm_name("llm-teacher"), arm_name("one stage")
    ('L1 + RKD-D', 'L1 · dim=5', 'LLM teacher', 'one stage')
    """
    plain, separator, levels = arm.partition(LEVELS)
    losses = losses_of(plain)
    summed = " + ".join(LOSSES[loss].label for loss in losses) if losses else plain
    return _SPECIAL.get(plain, summed) + separator + levels


def loss_name(loss: str) -> str:
    """The label of a loss; without one, its name."""
    return LOSSES[loss].label if loss in LOSSES else loss


def stage_name(stage: str) -> str:
    """The label of a stage; without one, its name."""
    return STAGES[stage].label if stage in STAGES else stage


#: the backbones of the paper, which ``--backbone all`` means unless a study names others
PAPERS_BACKBONES = ("ttranse", "ta-distmult")


def backbone_name(backbone: str) -> str:
    """The label of a backbone; without one, its name."""
    return BACKBONES[backbone].label if backbone in BACKBONES else backbone


def teacher_name(teacher: str) -> str:
    """What a teacher is called; an undeclared one as it is."""
    return TEACHERS[teacher].label if teacher in TEACHERS else teacher


def dataset_name(dataset: str) -> str:
    """The label of a data set; without one, its name."""
    return DATASETS.get(dataset, dataset)


def level_name(value: float) -> str:
    """A level of a factor as short as it can be written: ``0.01``, ``7``."""
    return f"{value:.4g}"


def versus(arm: str, base: str) -> str:
    """The name of a comparison, which for a contrast, without a base, is `arm` itself."""
    return f"{arm_name(arm)} against {arm_name(base)}" if base else arm


def ordered(present: Iterable[str], order: Iterable[str]) -> list[str]:
    """The names present, those of ``order`` first and in that order, then the others sorted."""
    names, known = set(present), list(order)
    return [name for name in known if name in names] + sorted(names - set(known))


def by_level(names: Iterable[str], order: Sequence[str] = ()) -> list[str]:
    """Names of arms and of their levels: the arms of ``order`` first, then by `arm_place`; numbers by their size."""

    def key(name: str) -> tuple[object, ...]:
        arm = name.partition(LEVELS)[0]
        place = (order.index(arm),) if arm in order else (len(order), *arm_place(arm))
        # texts and numbers by turns
        parts = re.split(r"(\d+(?:\.\d+)?)", name)
        return place, [(float(part) if i % 2 else 0.0, part) for i, part in enumerate(parts)]

    return sorted(set(names), key=key)


def arm_place(arm: str) -> tuple[int, ...]:
    """Where an arm stands: none, then by number and declaration of its losses, then variants, reference rows last."""
    losses = losses_of(arm)
    if losses is not None:
        return (0, len(losses), *(LOSSES[loss].order for loss in losses))
    return (2, REFERENCES.index(arm)) if arm in REFERENCES else (1,)


def student_arms(present: Iterable[str]) -> list[str]:
    """The arms present that are students, in the order in which they come."""
    return [arm for arm in dict.fromkeys(present) if arm not in REFERENCES]


def arm_colors(arms: Iterable[str]) -> dict[str, str]:
    """Colours of arms: as declared, else that of the last loss if no other arm has it, else by turns."""
    chosen: dict[str, str] = {}
    turns = itertools.cycle(MORE_COLORS)
    for arm in arms:
        losses = losses_of(arm)
        color = _ARM_COLORS.get(arm) or (LOSSES[losses[-1]].color if losses else "")
        chosen[arm] = next(turns) if not color or color in chosen.values() else color
    return chosen


def stage_colors(stages: Iterable[str]) -> dict[str, str]:
    """Colours of stages: as declared, else by turns."""
    turns = itertools.cycle(MORE_COLORS)
    return {stage: (STAGES[stage].color if stage in STAGES else "") or next(turns) for stage in stages}


def joined(words: Sequence[str]) -> str:
    """Words as a list in a sentence: "a, b and c"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
