"""What arms, backbones, data sets, measures and stages are called and in which order they appear."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

#: Arms in the order of every table; the last two are reference rows, not students.
ARMS = {
    "none": "no distillation",
    "L1": "L1",
    "L1+L2": "L1 + L2",
    "L1+L3": "L1 + L3",
    "L1+L2+L3": "L1 + L2 + L3",
    "L2+L3": "L2 + L3",
    "L1+FitNet": "L1 + FitNet",
    "L1+RKD-D": "L1 + RKD-D",
    "L1+RKD-A": "L1 + RKD-A",
    "teacher": "structural teacher",
    "llm-teacher": "LLM teacher",
}
#: between an arm and the levels of the factors that it is crossed with: "L1 · dim=5"
LEVELS = " · "
#: how the labels of cells end that a grid trains anew, with seeds that took no part in choosing them
FRESH_SEEDS = f"{LEVELS}fresh seeds"
REFERENCES = ("teacher", "llm-teacher")
BACKBONES = {"ttranse": "TTransE", "ta-distmult": "TA-DistMult"}
DATASETS = {
    "yago": "YAGO11k",
    "wiki": "Wikidata12k",
    "icews14": "ICEWS14",
    "icews05-15": "ICEWS05-15",
    "lahman": "Lahman baseball",
}
STAGES = {
    "data": "read data",
    "teacher": "structural teacher",
    "finetune": "LLM: fine-tune",
    "encode": "LLM: encode",
    "semantic": "LLM: train E(p)",
    "llm-targets": "LLM: store targets",
    "targets": "store targets",
    "teacher-vectors": "store vectors",
    "stage1": "student, stage 1",
    "stage2": "student, stage 2",
    "evaluate": "evaluate",
}


@dataclass(frozen=True)
class Measure:
    """A measure of ranks: its column is ``test_<key>``; ``decimals`` are those of its mean."""

    key: str
    label: str
    decimals: int
    higher_is_better: bool


MEASURES = (
    Measure("mrr", "MRR", 4, higher_is_better=True),
    Measure("mr", "MR", 0, higher_is_better=False),
    Measure("hits1", "Hits@1", 4, higher_is_better=True),
    Measure("hits3", "Hits@3", 4, higher_is_better=True),
    Measure("hits10", "Hits@10", 4, higher_is_better=True),
)
MEASURE = {measure.key: measure for measure in MEASURES}


def arm_name(arm: str) -> str:
    """What an arm is called; a variant of a study is called as the study names it, levels of factors as they are."""
    own, separator, levels = arm.partition(LEVELS)
    return ARMS.get(own, own) + separator + levels


def versus(arm: str, base: str) -> str:
    """What a comparison is called; a contrast, which has no base, has a name of its own."""
    return f"{arm_name(arm)} against {arm_name(base)}" if base else arm


def ordered(present: Iterable[str], order: Iterable[str]) -> list[str]:
    """The names present, those of ``order`` first and in that order, then the others sorted."""
    names, known = set(present), list(order)
    return [name for name in known if name in names] + sorted(names - set(known))


def by_level(names: Iterable[str], order: Sequence[str]) -> list[str]:
    """Names of arms and of their levels: the arms in the given order, then unknown ones; numbers by their size."""

    def key(name: str) -> tuple[int, list[tuple[float, str]]]:
        own = name.partition(LEVELS)[0]
        place = order.index(own) if own in order else len(order)
        # texts and numbers by turns
        parts = re.split(r"(\d+(?:\.\d+)?)", name)
        return place, [(float(part) if i % 2 else 0.0, part) for i, part in enumerate(parts)]

    return sorted(set(names), key=key)


def student_arms(present: Iterable[str]) -> list[str]:
    """The arms present that are students, in the order in which they come."""
    return [arm for arm in dict.fromkeys(present) if arm not in REFERENCES]


def joined(words: Sequence[str]) -> str:
    """Words as a list in a sentence: "a, b and c"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def declare(kind: str, name: str, label: str, colour: str | None = None) -> None:
    """Take the label and colour of a loss, backbone or stage that registers."""


def backbone_name(name: str) -> str:
    """What a backbone is called."""
    return BACKBONES.get(name, name)
