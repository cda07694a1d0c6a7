"""Every arm, stage and measurement on a small graph, and the numbers that each gives."""

from __future__ import annotations

import hashlib
import math
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.design.settings import merge, nested
from harness.distill.training.loop import Trained
from harness.measurements import in_the_loop as loop_module
from harness.measurements import inference as inference_module
from harness.measurements.export import export
from harness.measurements.in_the_loop import loop
from harness.measurements.inference import inference
from harness.trial.provenance import _processor
from harness.trial.run import TrialResult, run_trial
from harness.trial.spec import TrialSpec
from harness.trial.stacks import train_together
from harness.trial.stages import Context, Stages

#: numbers by the name of what gave them; text is a digest of many numbers, of which only equality counts
Numbers = dict[str, float | str]

ARMS = (
    *("none", "L1", "L1+L2", "L1+L3", "L1+L2+L3", "L2+L3", "L1+FitNet", "L1+RKD-D", "L1+RKD-A"),
    *("teacher", "llm-teacher"),
)
#: one change each of an arm's settings: every option that takes another way through the engine
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "mse": ("L1+L2", {"loss.alignment": "mse"}),
    "kl": ("L1+L2", {"loss.alignment": "kl"}),
    "cosine": ("L1+L2", {"loss.alignment": "cosine"}),
    "outliers": ("L1+L2", {"loss.outliers": 0.1}),
    "fusion": ("L1+L2", {"loss.fusion": 0.5}),
    "merged": ("L1", {"loss.others": "merged"}),
    "one stage": ("L1+L2+L3", {"student.stage1_epochs": 0}),
    "language first": ("L1+L2+L3", {"student.order": "language-first"}),
    "stage 1 alone": ("L1", {"student.stage1_epochs": 4}),
    "all entities": ("L1+L2+L3", {"student.candidates": 0}),
    "l1 norm": ("L1+L2+L3", {"student.norm": "l1", "teacher.norm": "l1"}),
    "other teacher": ("L1", {"teacher.backbone": "ta-distmult"}),
    "shuffled": ("L1+L2+L3", {"semantic.vectors": "shuffled"}),
    "random": ("L1+L2+L3", {"semantic.vectors": "random"}),
    "fine-tuned": ("L1+L2+L3", {"llm.finetune": "lora", "llm.token_budget": 2000, "llm.learning_rate": 0.01}),
    "classes by width": ("L1", {"time.classes": "width", "time.size": 7}),
    "static": ("L1", {"protocol": "static"}),
    "timeplex": ("none", {"protocol": "timeplex"}),
}
#: one way each through what came later: backbones, losses, bits, and teachers that are made of models
LATER: dict[str, dict[str, Any]] = {
    **{f"{name}, L1": {"backbone": name, "arm": "L1"} for name in ("tcomplex", "tntcomplex", "timeplex", "telm")},
    "rotate-translate, L1": {"backbone": "rotate-translate", "arm": "L1"},
    "lifted, L1": {"backbone": "lifted", "arm": "L1", "student.lifted.wide": 16},
    **{f"ta-distmult, {loss}": {"arm": loss} for loss in ("DKD", "DIST", "LSKD", "CTKD", "RCE-KD")},
    **{f"ta-distmult, {bits} bits": {"arm": "L1", "student.bits": bits} for bits in (4, 2)},
    "ta-distmult, ensemble": {
        "arm": "L1", "teacher.source": "ensemble", "teacher.ensemble.members": "tcomplex,ta-distmult,llm",
    },
    "ta-distmult, ensemble with gaps": {
        "arm": "L1", "teacher.source": "ensemble", "teacher.ensemble.members": "tcomplex,gaps",
    },
    "ta-distmult, gaps": {"arm": "gaps"},
    "ta-distmult, L1 and facts looked up": {"arm": "L1", "student.gaps": True, "student.bits": 4},
    "ta-distmult, recurrence": {"arm": "recurrence"},
    "ta-distmult, tkbi": {"arm": "none", "protocol": "tkbi"},
    "ta-distmult, distilled": {"arm": "L1", "teacher.source": "distilled", "teacher.distilled.dims": "12"},
    "ta-distmult, frequent answers": {"arm": "L1+L2+L3", "semantic.candidates": 64, "semantic.frequent": 64},
    "ta-distmult, random points": {"arm": "none", "student.times": "random-point"},
}  # fmt: skip
ENTITIES, RELATIONS, FACTS = 500, 6, 1500


def write_graph(folder: Path) -> Path:
    """A folder of facts that is large enough for the compiled passes, whose bytes follow from arithmetic alone."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for k in range(FACTS):
        head, relation = (k * 7919 + k // 500) % ENTITIES, (k * 31 + k // 7) % RELATIONS
        tail = (head + 3 * relation + 1 + (k % 11 == 0) * 17) % ENTITIES
        start = 1900 + 10 * (head % 9) + k % 5
        rows.append(f"person {head:03d}\trel {relation}\tperson {tail:03d}\t{start}\t{start + k % 4}")
    cut = int(0.8 * FACTS), int(0.9 * FACTS)
    for split, part in zip(("train", "valid", "test"), np.split(np.array(rows), cut), strict=True):
        (folder / f"{split}.txt").write_text("\n".join(part) + "\n", encoding="utf-8")
    return folder


def base(dataset: Path, encoder: Path) -> dict[str, Any]:
    """Settings with which a trial takes a second and still goes through the compiled passes."""
    sampled = {"candidates": 64, "batch_size": 600}
    return {
        "dataset": str(dataset),
        "time": {"size": 100},
        "student": {"dim": 8, "epochs": 4, "stage1_epochs": 2, "hard_candidates": 32, **sampled},
        "teacher": {"dim": 16, "epochs": 2, "hard_candidates": 32, **sampled},
        "llm": {"model": str(encoder), "finetune": "none"},
        "semantic": {"dim": 8, "components": 8, "epochs": 2, "batch_size": 600},
        "loss": {"targets": 32},
    }


def specs(dataset: Path, encoder: Path) -> Iterator[tuple[str, TrialSpec]]:
    """Every case by name."""
    plain = base(dataset, encoder)
    for backbone in ("ttranse", "ta-distmult"):
        for arm in ARMS:
            yield f"{backbone}, {arm}", TrialSpec.model_validate({**plain, "backbone": backbone, "arm": arm}).acting()
        for name, (arm, changes) in WAYS.items():
            mine = merge(plain, {"backbone": backbone, "arm": arm, **nested(changes)})
            yield f"{backbone}, {name}", TrialSpec.model_validate(mine).acting()
    for name, changes in LATER.items():
        mine = merge(plain, nested({"backbone": "ta-distmult", **changes}))
        yield name, TrialSpec.model_validate(mine).acting()


def numbers_of_cases(dataset: Path, encoder: Path, context: Context, only: str = "") -> dict[str, Numbers]:
    """What every trial gives, and every shared stage, once; ``only``: of one case."""
    actual: dict[str, Numbers] = {}
    stages_seen: set[str] = set()
    for name, spec in specs(dataset, encoder):
        if only not in ("", name):
            continue
        actual[name] = of_trial(run_trial(spec, context))
        stages = Stages(spec, context)
        for stage, key in stages.plan.keys.items():
            if key not in stages_seen:
                stages_seen.add(key)
                actual[f"{name}: {stage}"] = of_tensors(stages.entry(stage).tensors)
    return actual


def numbers_of_stacks(dataset: Path, encoder: Path, context: Context) -> dict[str, Numbers]:
    """What students give that train side by side."""
    actual: dict[str, Numbers] = {}
    for backbone in ("ttranse", "ta-distmult"):
        plain = {**base(dataset, encoder), "backbone": backbone}
        arms = [TrialSpec.model_validate({**plain, "arm": arm}).acting() for arm in ("L1", "L1+L2", "L1+L2+L3")]
        for spec, trained in zip(arms, train_together(arms, None, context), strict=True):
            assert isinstance(trained, Trained)
            actual[f"stack of {backbone}, {spec.arm}"] = of_trial(run_trial(spec, context, trained))
    return actual


def numbers_of_measurements(
    dataset: Path, encoder: Path, context: Context, patch: Callable[[Any, str, object], None]
) -> dict[str, Numbers]:
    """What measurements beside the trials give that is no time and no memory; ``patch`` makes turns few."""
    patch(loop_module, "TURNS", 1)
    patch(loop_module, "STEPS", 1)
    patch(inference_module, "TURNS", 1)
    patch(inference_module, "SINGLE", 1)
    actual: dict[str, Numbers] = {}
    for backbone in ("ttranse", "ta-distmult"):
        plain = {**base(dataset, encoder), "backbone": backbone}
        full = TrialSpec.model_validate({**plain, "arm": "L1+L2+L3"}).acting()
        asked = [TrialSpec.model_validate({**plain, "arm": arm}).acting() for arm in ("none", "teacher", "llm-teacher")]
        rows = [("loop", row, ("arm", "way")) for row in loop(full, context, True)]
        rows += [("inference", row, ("model",)) for row in inference(asked, context)]
        rows += [("export", row, ("format",)) for row in export(full, context)]
        for kind, row, names in rows:
            kept = ("updates", "test_mrr", "valid_mrr", "parameters", "mrr", "mr", "hits1", "hits10", "moved")
            numbers: Numbers = {key: float(row[key]) for key in kept if row.get(key) is not None}
            actual[f"{kind} of {backbone}, {', '.join(str(row[name]) for name in names)}"] = numbers
    return actual


def of_trial(result: TrialResult) -> Numbers:
    """Metrics of both directions together, the last loss, and a digest of all ranks."""
    ranks = hashlib.sha256(result.ranks["rank"].astype("<f8").tobytes()).hexdigest()[:16]
    metrics = {name: value for name, value in result.metrics.items() if "_tail_" not in name and "_head_" not in name}
    losses = {"loss": float(result.curve[-1]["loss"])} if result.curve else {}
    return {**metrics, **losses, "updates": float(result.updates), "ranks": ranks}


def of_tensors(tensors: dict[str, torch.Tensor]) -> Numbers:
    """Their mean size, and a digest of all bits."""
    digest = hashlib.sha256()
    sizes = []
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(tensor.contiguous().numpy().tobytes())
        finite = tensor.double()[torch.isfinite(tensor.double())]
        sizes.append(float(finite.abs().mean()) if len(finite) else 0.0)
    return {"mean size": math.fsum(sizes) / max(len(sizes), 1), "bits": digest.hexdigest()[:16]}


def machine() -> str:
    """What decides the last bit: processor and the libraries that compute."""
    from importlib import metadata

    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "numpy", "numba", "transformers"))
    info = Path("/proc/cpuinfo")
    model = ""
    if info.exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        fields = dict(line.split(":", 1) for line in lines if line.startswith(("cpu family", "model\t", "stepping")))
        model = " " + "/".join(value.strip() for value in fields.values())
    return f"{platform.machine()}, {_processor()}{model}, {versions}"
