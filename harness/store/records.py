"""Attributes of a trial that nobody sorts or plots by, packed: a row of the store holds many of them.

A trial has some sixty attributes, which would be a row and an entry of an index each. What trials of a study have in
common, which is nearly all of their settings and of their environment, the study has once, and a trial what differs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from harness.errors import UserError
from harness.trial.cache import digest
from harness.vocabulary import PROTOCOLS

#: the attribute that holds those of a trial's machine
ENVIRONMENT = "environment"
#: the settings of a trial: an object in the store, and its JSON for readers
SPEC = "spec"
#: attributes that hold those whose names begin so, such as ``test_tail`` with ``mrr``: each short enough for
#: optuna-dashboard, which shows an attribute on one line and makes its page as wide
_HOLDERS = re.compile(
    rf"((?:valid|test)_(?:tail|head)|test_(?:{'|'.join(PROTOCOLS)})|valid|seconds|built_seconds|peak_mib)_(.+)"
)
#: what held several of these before, by their names
_EARLIER = ("metrics", "costs", "protocols")
#: the attribute of a trial that names a record of its study, ``common:NAME``, and what such a record holds
COMMON, _SHARED = "common", (SPEC, ENVIRONMENT, "data_digest", "preset", "protocol")


def packed(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes with those alike in one, such as ``test_tail_mrr`` in ``test_tail``."""
    holders: dict[str, Any] = {}
    for name, value in attributes.items():
        if parts := _HOLDERS.fullmatch(name):
            holders.setdefault(parts[1], {})[parts[2]] = value
        else:
            holders[name] = value
    return holders


def shared(attributes: Mapping[str, Any], records: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The attributes of a trial without what a record of its study has, and that record, by its name.

    The record is the first of ``records``, the attributes of the study, whose keys this trial has, at all depths, and
    otherwise a new one, of all that this trial could share. Its name is a digest of its content: two coordinators may
    add records at once.
    """
    sharable = {name: value for name, value in attributes.items() if name in _SHARED}
    if not sharable:
        return dict(attributes), {}
    known = ((name, record) for name, record in common(records).items() if _covers(record, sharable))
    name, record = next(known, (f"{COMMON}:{digest(sharable)}", sharable))
    other = {key: value for key, value in attributes.items() if key not in record}
    differing = _difference({key: attributes[key] for key in record}, record)
    return {**other, COMMON: name.removeprefix(f"{COMMON}:"), **differing}, {name: record}


def common(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The records among the attributes of a study."""
    return {name: value for name, value in attributes.items() if name.startswith(f"{COMMON}:")}


def unpacked(attributes: Mapping[str, Any], records: Mapping[str, Any]) -> dict[str, Any]:
    """All attributes of a trial by their names; ``records`` are the attributes of its study.

    Raises:
        UserError: the study has not the record that the trial names.
        TypeError: it is not of the harness.
    """
    flat: dict[str, Any] = {}
    for name, value in _complete(attributes, records).items():
        if name in (ENVIRONMENT, *_EARLIER):
            flat |= _flat(value)
        else:
            flat |= _flat({name: value}) if _HOLDERS.fullmatch(f"{name}_x") else {name: value}
    if isinstance(flat.get(SPEC), dict):
        flat[SPEC] = json.dumps(flat[SPEC])
    return flat


def renewed(
    attributes: Mapping[str, Any], there: Mapping[str, Any], here: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """As `shared`, for a copy of a trial; ``there`` and ``here`` are the attributes of its study and of the other."""
    return shared(_complete(attributes, there), here)


def spec_of(attributes: Mapping[str, Any], records: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a trial; arguments and errors as of `unpacked`."""
    spec = _complete(attributes, records).get(SPEC)
    if not isinstance(spec, dict):
        raise TypeError("a trial without settings")
    return spec


def _complete(attributes: Mapping[str, Any], records: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a trial with what its study has."""
    kept = {name: value for name, value in attributes.items() if name != COMMON}
    if COMMON not in attributes:
        return kept
    record = records.get(f"{COMMON}:{attributes[COMMON]}")
    if not isinstance(record, dict):
        raise UserError(
            f"a trial shares settings that its study does not have ({COMMON}:{attributes[COMMON]}); restore the store "
            "from a back-up"
        )
    return _completed(kept, record)


def _covers(record: Any, attributes: Mapping[str, Any]) -> bool:
    """Whether attributes follow from a record and what differs."""
    return isinstance(record, dict) and all(
        name in attributes and _alike(attributes[name], common_value) for name, common_value in record.items()
    )


def _alike(value: Any, other: Any) -> bool:
    """Whether two values have the same keys, at all depths: only then the difference is enough."""
    if isinstance(value, dict) and isinstance(other, dict):
        return value.keys() == other.keys() and all(_alike(inner, other[key]) for key, inner in value.items())
    return not isinstance(value, dict) and not isinstance(other, dict)


def _difference(value: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """What of ``value`` is not as in ``base``, which is alike; compared as JSON, where 1, 1.0 and true differ."""
    return {
        key: _difference(inner, base[key]) if isinstance(inner, dict) else inner
        for key, inner in value.items()
        if json.dumps(inner) != json.dumps(base[key])
    }


def _completed(value: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """What ``value`` was before `_difference`, in the order of ``base``."""
    both = {key for key, inner in value.items() if isinstance(inner, dict) and isinstance(base.get(key), dict)}
    return {**base, **{key: _completed(inner, base[key]) if key in both else inner for key, inner in value.items()}}


def _flat(held: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(held, Mapping):
        raise TypeError("what holds others by name is no object")
    flat: dict[str, Any] = {}
    for name, value in held.items():
        flat |= (
            {f"{name}_{key}": part for key, part in _flat(value).items()} if isinstance(value, dict) else {name: value}
        )
    return flat
