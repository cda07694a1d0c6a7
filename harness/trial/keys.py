"""Which shared stages a trial stands on, what identifies each of them, and in which order they can be made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.distill.losses import LOSSES
from harness.errors import UserError
from harness.models import BACKBONES
from harness.registry import Registry
from harness.teachers.sources import TEACHERS
from harness.trial.cache import digest
from harness.trial.shared.stage import ENGINE, STAGES, Planned, backbone_version
from harness.trial.spec import TrialSpec


@dataclass(frozen=True)
class Plan:
    """The shared stages of a trial.

    ``keys`` names them in an order in which they can be made, with the key of each: a digest of all that determines
    its content, the versions of what computes it included. ``needs`` has the stages that each is made from.
    """

    keys: dict[str, str]
    needs: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, spec: TrialSpec, data_digest: str, device: str) -> Plan:
        """Plan a trial on the data with this digest.

        Raises:
            UserError: it needs a language model whose weights are not there, or targets that its teacher does not
                yield.
        """
        refuse_impossible(spec)

        def other(trial: TrialSpec) -> list[object]:
            parts = [LOSSES[part].version for part in trial.parts]
            code = [ENGINE, backbone_version(trial.backbone), parts]
            return [trial.key(), code, list(cls.of(trial, data_digest, device).keys.values())]

        wanted = {name: stage for name, stage in STAGES.items() if stage.wanted(spec)}
        needs = {name: tuple(need for need in stage.needs(spec) if need in wanted) for name, stage in wanted.items()}
        keys: dict[str, str] = {}
        while lacking := [name for name in wanted if name not in keys]:
            name = next(name for name in lacking if keys.keys() >= set(needs[name]))
            stage, plugin = wanted[name], STAGES.origin(name)
            code = [stage.version, *([] if plugin is None else [plugin.digest])]
            content = stage.content(spec, Planned(data_digest, device, dict(keys), other))
            keys[name] = digest(name, code, [keys[need] for need in needs[name]], content)
        return cls(keys, needs)

    def keys_needed(self, stage: str) -> list[str]:
        """The keys of the stages that ``stage`` of this trial is made from."""
        return [self.keys[name] for name in self.needs[stage]]


def refuse_impossible(spec: TrialSpec) -> None:
    """Refuse a trial whose losses need what no teacher of it yields.

    Raises:
        UserError: names the loss, what it needs, and the teacher.
    """
    source = TEACHERS.named(spec.teacher.source)
    if "teacher" not in source.yields:
        chosen = [name for name, teacher in TEACHERS.items() if "teacher" in teacher.yields]
        raise UserError(f"teacher.source={source.name}: cannot stand in the structural teacher's place; {chosen} can")
    if spec.arm == "teacher" and not source.has_model:
        raise UserError(f"arm 'teacher': teacher {source.name!r} has no model that could be scored; leave the arm out")
    at_hand = [source, *(teacher for teacher in TEACHERS.values() if "teacher" not in teacher.yields)]
    yields = {target for teacher in at_hand for target in teacher.yields}
    if not spec.teacher_has_vectors:
        yields -= {"entities"}
    for part, need in ((loss, need) for loss in spec.parts for need in LOSSES[loss].needs):
        if need not in yields:
            raise UserError(f"arm {spec.arm!r}: {part} needs {need!r}, which teacher {source.name!r} does not yield")
    if spec.is_fused and "entities" not in yields:
        raise UserError(f"loss.fusion: mixes in a model's scores, and teacher {source.name!r} has none; set fusion=0")


def engine_version(*, complete: bool = False) -> str:
    """The versions of all of the package that a trial's numbers can depend on, in one digest.

    A method that is new, and so of version 1, changes nothing; ``complete``: it does, since whoever has other methods
    cannot do the same work.
    """
    registries: tuple[Registry[Any], ...] = (STAGES, BACKBONES, LOSSES, TEACHERS)
    versions = [
        {
            name: thing.version
            for name, thing in sorted(registry.items())
            if registry.origin(name) is None and (complete or thing.version > 1)
        }
        for registry in registries
    ]
    return digest(ENGINE, versions)
