"""Which shared stages a trial stands on, what determines each of them, and in which order they can be made."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from harness.models import BACKBONES
from harness.teachers.language_model import locate
from harness.trial.cache import digest
from harness.trial.spec import TrialSpec

#: the stages that trials share, and which others each is made from
NEEDS: dict[str, tuple[str, ...]] = {
    "teacher": (),
    "finetune": (),
    "encode": ("finetune",),
    "semantic": ("encode",),
    "llm-targets": ("semantic",),
    "targets": ("teacher",),
    "teacher-vectors": ("teacher",),
    "stage1": ("targets", "teacher-vectors"),
}

#: Versions of what computes. One goes up by hand when a change of the code moves its numbers, which the golden test
#: notices; moving, renaming or reformatting code changes none.
#: ENGINE: data as queries, training loop, losses, ranks. Of a stage: how it is built, beyond the engine's part in it.
ENGINE = 1
VERSIONS = dict.fromkeys(NEEDS, 1)


@lru_cache(maxsize=8)
def weights_version(model: str) -> str:
    """A digest of a language model's files; of a hub id, its name.

    Raises:
        UserError: if the weights are not there.
    """
    where, gguf = locate(model)
    folder = Path(where)
    if not folder.is_dir():
        return where
    files = (
        [folder / gguf]
        if gguf
        else sorted(p for p in folder.rglob("*") if p.suffix in (".safetensors", ".json", ".txt"))
    )
    sums = []
    for path in files:
        with path.open("rb") as file:
            sums.append([path.name, hashlib.file_digest(file, "sha256").hexdigest()])
    return digest(sums)


@dataclass(frozen=True)
class Plan:
    """The shared stages of a trial.

    ``keys`` names them in an order in which they can be made, with the key of each: a digest of all that determines
    its content, the versions of what computes it included.
    """

    keys: dict[str, str]
    #: whether the LLM teacher's targets have a share of the structural teacher's
    fused: bool = False

    @classmethod
    def of(cls, spec: TrialSpec, data_digest: str, device: str) -> Plan:
        """Plan a trial on the data with this digest.

        Raises:
            UserError: if it needs a language model whose weights are not there.
        """
        arm, loss, parts = spec.arm, spec.loss, spec.parts
        fused = spec.is_fused
        base = [data_digest, spec.time.key(), spec.protocol, device, ENGINE]
        keys: dict[str, str] = {}
        if arm == "teacher" or "L1" in parts or fused:
            teacher = spec.teacher.model_copy(update={"backbone": spec.teacher_backbone})
            keys["teacher"] = digest("teacher", base, teacher.key(), _version("teacher", spec.teacher_backbone))
        if arm == "llm-teacher" or "L2" in parts or "L3" in parts:
            llm = spec.llm
            weights, dtype = weights_version(llm.model), str(llm.torch_dtype)  # None says another one elsewhere
            if llm.finetune != "none":
                own = llm.model_dump() | {"dtype": dtype}
                keys["finetune"] = digest("finetune", data_digest, own, weights, _version("finetune"))
            wanted = [weights, dtype, llm.max_length, llm.batch_tokens, keys.get("finetune")]
            keys["encode"] = digest("encode", data_digest, wanted, _version("encode"))
            head = [spec.semantic.key(), _version("semantic")]
            keys["semantic"] = digest("semantic", base, keys["encode"], head)
            if arm != "llm-teacher":
                mixed = [loss.fusion, keys["teacher"]] if fused else []
                keys["llm-targets"] = digest(
                    "llm-targets", keys["semantic"], loss.targets, mixed, _version("llm-targets")
                )
        if "L1" in parts:
            how = [loss.temperature, loss.targets, _version("targets")]
            keys["targets"] = digest("targets", keys["teacher"], how)
            if loss.others == "estimated":
                keys["teacher-vectors"] = digest("teacher-vectors", keys["teacher"], _version("teacher-vectors"))
        if spec.shares_stage1:
            # of the arm, stage 1 only depends on whether the structural teacher is there
            shared = [keys[name] for name in ("targets", "teacher-vectors") if name in keys]
            soft = [*shared, loss.hard_weight, loss.soft_weight] if "L1" in parts else []
            student = spec.student.model_copy(update={"order": "structure-first"})
            trained = [spec.backbone, student.key(), spec.seed, _version("stage1", spec.backbone)]
            keys["stage1"] = digest("stage1", base, trained, soft)
        return cls(keys, fused)

    def needs(self, stage: str) -> list[str]:
        """The keys of the stages that ``stage`` of this trial is made from."""
        names = (*NEEDS[stage], "teacher") if stage == "llm-targets" and self.fused else NEEDS[stage]
        return [self.keys[name] for name in names if name in self.keys]


def _version(stage: str, backbone: str | None = None) -> list[int]:
    """The versions of a stage and of the backbone that it trains."""
    return [VERSIONS[stage], *([] if backbone is None else [BACKBONES[backbone].version])]


def engine_version() -> str:
    """The versions of all that a trial's numbers can depend on, in one digest."""
    backbones = {name: backbone.version for name, backbone in BACKBONES.items()}
    return digest(ENGINE, VERSIONS, backbones)
