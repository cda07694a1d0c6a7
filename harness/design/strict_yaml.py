"""YAML of plain values, as in study files and ``--set``: no tags, no anchors, nothing nested out of sight."""

from __future__ import annotations

from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.error import MarkedYAMLError
from yaml.events import CollectionEndEvent, CollectionStartEvent, NodeEvent, ScalarEvent
from yaml.nodes import MappingNode, ScalarNode

#: levels of lists and mappings inside each other; a study needs six
_DEEPEST = 20
#: characters of a document; a study has some thousands
_LONGEST = 1_000_000
# libyaml reads all study files in a sixth of the time, which help texts wait for; PyYAML may come without it
_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Safe):  # type: ignore[misc]  # its base class is chosen at run time
    """Refuses keys that are given twice, and integers of more than 63 bits."""

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = set()
        for key, _ in node.value:
            if isinstance(key, ScalarNode):
                if key.value in keys:
                    raise ConstructorError(None, None, f"the key {key.value[:40]!r} is there twice", key.start_mark)
                keys.add(key.value)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping

    def construct_integer(self, node: ScalarNode) -> int:
        value: int = self.construct_yaml_int(node)
        if value.bit_length() > 63:
            raise ConstructorError(None, None, f"{node.value[:20]}... is too large a number", node.start_mark)
        return value


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_integer)


def load(text: str) -> Any:
    """The value that a YAML document of plain values describes.

    Raises:
        YAMLError: it is none, or describes more than plain values.
    """
    if len(text) > _LONGEST:
        raise yaml.YAMLError(f"longer than {_LONGEST:,} characters")
    try:
        _refuse_more_than_plain_values(text)
        loader = _Loader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except ValueError as error:  # of dates that are not in the calendar, and of numbers with thousands of digits
        raise yaml.YAMLError(str(error)) from None


def _refuse_more_than_plain_values(text: str) -> None:
    """Refuse what lets a short file become a large value."""
    depth = 0
    for event in yaml.parse(text, _Loader):
        refusal = None
        if isinstance(event, NodeEvent) and event.anchor is not None:
            refusal = "anchors and aliases are not read; write the value out"
        elif isinstance(event, ScalarEvent | CollectionStartEvent) and event.tag is not None:
            refusal = "tags are not read"
        elif isinstance(event, NodeEvent) and depth == _DEEPEST:
            refusal = f"more than {_DEEPEST} levels inside each other"
        if refusal:
            raise MarkedYAMLError(None, None, refusal, event.start_mark)  # type: ignore[arg-type]  # libyaml's mark
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)


def reason(error: Exception) -> str:
    """The message of an error, short and on one line."""
    return " ".join(str(error).split())[:200]
