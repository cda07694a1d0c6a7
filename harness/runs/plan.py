"""Which shared stages a trial stands on, what determines each of them, and in which order they can be made."""

from __future__ import annotations

import ast
import hashlib
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import harness
from harness.models import BACKBONES
from harness.runs.cache import digest
from harness.runs.spec import TrialSpec
from harness.teachers.language_model import locate

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

_TRAINING = (
    *("data.dates", "data.graph", "data.known", "data.timeline", "models.base", "models.batch", "models.vmapped"),
    *("models.candidates", "models.compiled", "models.ordering", "evaluate"),
    *("distill.compiled_step", "distill.fused", "distill.objective", "distill.response", "distill.sampled"),
    *("distill.sampler", "distill.seeds", "distill.softmax", "distill.stacked", "distill.step", "distill.trainer"),
    *("runs.inputs", "runs.stages"),
)
_LANGUAGE = ("teachers.language_model", "teachers.lora", "teachers.texts", "data.dates")


@lru_cache(maxsize=64)
def code_version(*modules: str) -> str:
    """A digest of what the code of ``modules`` (relative to the package) does: comments and docstrings do not count."""
    root = Path(harness.__file__).parent
    return digest(*(_meaning(root.joinpath(*name.split(".")).with_suffix(".py")) for name in modules))


def _meaning(path: Path) -> str:
    """What Python's parser makes of a module, in the same words whichever version of Python it is: that of 3.11.

    Later ones have a list of type parameters for each function and class, and from 3.13 on leave empty lists out.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        match node:  # a docstring
            case ast.Module() | ast.ClassDef() | ast.FunctionDef() if ast.get_docstring(node, clean=False) is not None:
                node.body[0] = ast.Pass()
    options = {"show_empty": True} if sys.version_info >= (3, 13) else {}
    return ast.dump(tree, **options).replace(", type_params=[]", "")


def backbone_module(name: str) -> str:
    """The module of a backbone, relative to the package."""
    return BACKBONES[name].__module__.removeprefix("harness.")


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
    its content, code included.
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
        base = [data_digest, spec.time.key(), spec.protocol, device, code_version(*_TRAINING)]
        keys: dict[str, str] = {}
        if arm == "teacher" or "L1" in parts or fused:
            teacher = spec.teacher.model_copy(update={"backbone": spec.teacher_backbone})
            module = backbone_module(spec.teacher_backbone)
            keys["teacher"] = digest("teacher", base, teacher.key(), code_version(module))
        if arm == "llm-teacher" or "L2" in parts or "L3" in parts:
            llm = spec.llm
            weights, dtype = weights_version(llm.model), str(llm.torch_dtype)  # None says another one elsewhere
            if llm.finetune != "none":
                code = code_version(*_LANGUAGE, "distill.seeds")
                keys["finetune"] = digest("finetune", data_digest, llm.model_dump() | {"dtype": dtype}, weights, code)
            wanted = [weights, dtype, llm.max_length, llm.batch_tokens, keys.get("finetune")]
            keys["encode"] = digest("encode", data_digest, wanted, code_version("teachers.encode", *_LANGUAGE))
            head = [spec.semantic.key(), code_version("teachers.semantic")]
            keys["semantic"] = digest("semantic", base, keys["encode"], head)
            if arm != "llm-teacher":
                code = code_version("teachers.targets", "distill.alignment")
                mixed = [loss.fusion, keys["teacher"]] if fused else []
                keys["llm-targets"] = digest("llm-targets", keys["semantic"], loss.targets, mixed, code)
        if "L1" in parts:
            code = code_version("teachers.targets")
            keys["targets"] = digest("targets", keys["teacher"], loss.temperature, loss.targets, code)
            if loss.others == "estimated":
                keys["teacher-vectors"] = digest("teacher-vectors", keys["teacher"], code)
        if spec.shares_stage1:
            # of the arm, stage 1 only depends on whether the structural teacher is there
            shared = [keys[name] for name in ("targets", "teacher-vectors") if name in keys]
            soft = [*shared, loss.hard_weight, loss.soft_weight] if "L1" in parts else []
            student = spec.student.model_copy(update={"order": "structure-first"})
            own = [spec.backbone, student.key(), spec.seed, code_version(backbone_module(spec.backbone))]
            keys["stage1"] = digest("stage1", base, own, soft)
        return cls(keys, fused)

    def needs(self, stage: str) -> list[str]:
        """The keys of the stages that ``stage`` of this trial is made from."""
        names = (*NEEDS[stage], "teacher") if stage == "llm-targets" and self.fused else NEEDS[stage]
        return [self.keys[name] for name in names if name in self.keys]


def engine_version() -> str:
    """A digest of all code that a trial's numbers can depend on."""
    backbones = sorted(backbone_module(name) for name in BACKBONES)
    own = (
        "runs.trial",
        "distill.alignment",
        "distill.hints",
        "distill.relational",
        "distill.semantic",
        "teachers.encode",
        "teachers.semantic",
    )
    return code_version(*_TRAINING, *_LANGUAGE, *own, "teachers.targets", *backbones)
