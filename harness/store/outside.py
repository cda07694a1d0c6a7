"""What a study has from plugins: names and colours for its reports, and the code that its results belong to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from harness import vocabulary
from harness.distill.losses import LOSSES
from harness.errors import UserError
from harness.models import BACKBONES
from harness.registry import Registry
from harness.teachers.sources import TEACHERS
from harness.trial.spec import TrialSpec

#: the attribute of a study that has the code of its plugins' methods: version and digest by kind and name
METHODS = "methods"
#: the attribute that has kind, name, label and colour of those methods, for reports that do not load them
LABELS = "labels"
_REGISTRIES: tuple[Registry[Any], ...] = (LOSSES, BACKBONES, TEACHERS)


def attributes_of(specs: Iterable[TrialSpec]) -> dict[str, Any]:
    """The attributes of a study that describe plugins; none if its trials use none."""
    names = sorted({name for spec in specs for name in spec.outside})
    methods = {
        f"{registry.kind} {name}": [registry[name].version, plugin.digest]
        for registry in _REGISTRIES
        for name in names
        if name in registry and (plugin := registry.origin(name)) is not None
    }
    tables = {"loss": vocabulary.LOSSES, "backbone": vocabulary.BACKBONES}
    labels = [
        [kind, name, table[name].label, table[name].color]
        for kind, table in tables.items()
        for name in names
        if f"{kind} {name}" in methods and name in table
    ]
    return {key: value for key, value in ((METHODS, methods), (LABELS, labels)) if value}


def refuse_other_code(studies: Iterable[Mapping[str, Any]], methods: Mapping[str, Any], store: str) -> None:
    """Refuse methods whose code changed under one version: results of both would have one name.

    ``studies`` are the attributes of all studies of the store, ``methods`` those of the new study, from
    `attributes_of`, and ``store`` is its URL without a password.

    Raises:
        UserError: the store has results of a method of this name and version from other code.
    """
    for attributes in studies:
        for name, (version, digest) in methods.get(METHODS, {}).items():
            known = attributes.get(METHODS, {}).get(name)
            if known is not None and known[0] == version and known[1] != digest:
                raise UserError(
                    f"{name}: storage {store} has results of version {version} from other code than this plugin's; "
                    "raise version in the plugin, or name another --storage"
                )
