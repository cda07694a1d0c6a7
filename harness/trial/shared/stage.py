"""What a shared stage is: work that several trials need, done once and kept in the cache by its content.

A stage is declared once, in the file that builds it, beside this one or in a plugin. Plans, the order of work,
progress and cost tables follow from that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness import vocabulary
from harness.models import BACKBONES
from harness.registry import Registry
from harness.trial.cache import Built
from harness.trial.spec import TrialSpec

#: goes up when a change of the code moves what trained models yield: data as queries, training loop, losses, ranks.
#: Like all versions it goes up by hand, which the golden test asks for; moving or renaming code changes none.
ENGINE = 2


@dataclass(frozen=True)
class Planned:
    """What the key of a stage may depend on, besides its trial: the data's digest, the device, the keys so far, and
    what identifies another trial, whose model the stage is made of."""

    data_digest: str
    device: str
    keys: dict[str, str]
    trial: Callable[[TrialSpec], list[object]]

    def training(self, spec: TrialSpec) -> list[object]:
        """What decides how a model is trained and validated, whichever it is."""
        filters = [] if spec.validation_filter == "all" else [spec.validation_filter]
        return [self.data_digest, spec.time.key(), spec.protocol, self.device, ENGINE, *filters]


@dataclass(frozen=True)
class Stage:
    """A shared stage; the functions get a trial's spec.

    Args:
        name: its folder in the cache.
        wanted: whether a trial stands on it.
        needs: the stages that it is made from, of those that the trial stands on.
        content: what else decides its content, JSON values.
        build: given the trial's `harness.trial.stages.Stages`, makes its tensors and what is kept beside them.
        version: goes up when a change of ``build`` moves what it yields.
        whose: whose stage it is, for people: a backbone or a language model.
    """

    name: str
    wanted: Callable[[TrialSpec], bool]
    content: Callable[[TrialSpec, Planned], list[Any]]
    build: Callable[[Any], Built]
    needs: Callable[[TrialSpec], tuple[str, ...]] = lambda _: ()
    whose: Callable[[TrialSpec], str] = lambda spec: vocabulary.backbone_name(spec.backbone)
    version: int = 1


#: the shared stages, in an order in which they can be made
STAGES: Registry[Stage] = Registry("stage")


def register(stage: Stage, *, label: str = "", colour: str = "") -> None:
    """Register a stage; ``label`` and ``colour`` are those of progress lines, tables and figures.

    Those of the package are in `harness.vocabulary`, which needs no PyTorch.

    Raises:
        UserError: its name is taken.
    """
    STAGES.add(stage.name, stage)
    vocabulary.declare("stage", stage.name, label or vocabulary.stage_name(stage.name), colour)


def backbone_version(name: str) -> list[object]:
    """What identifies the code of a backbone: its version, and the plugin that it comes from."""
    plugin = BACKBONES.origin(name)
    return [name, BACKBONES[name].version, *([] if plugin is None else [plugin.digest])]
