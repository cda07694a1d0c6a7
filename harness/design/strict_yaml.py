"""YAML of plain values, as in study files and ``--set``: no tags, no anchors, nothing nested out of sight."""

from __future__ import annotations

from typing import Any

import yaml
from yaml.composer import Composer, ComposerError
from yaml.constructor import ConstructorError, SafeConstructor
from yaml.nodes import MappingNode, Node, ScalarNode
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import Resolver
from yaml.scanner import Scanner

#: levels of lists and mappings inside each other; a study needs six
_DEEPEST = 20
#: characters of a document; a study has some thousands
_LONGEST = 1_000_000


class PythonEvents(Reader, Scanner, Parser):
    """Reads a document piece by piece, where PyYAML comes without libyaml."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)


def loader(events: Any) -> Any:
    """A safe loader without what lets a short file become a large value, or a key be given twice.

    Args:
        events: class of what reads the document piece by piece.
    """

    # a base class chosen at run time is what type checkers refuse
    class Loader(Composer, events, SafeConstructor, Resolver):  # type: ignore[misc]
        depth = 0

        def __init__(self, text: str) -> None:
            events.__init__(self, text)
            Composer.__init__(self)
            SafeConstructor.__init__(self)
            Resolver.__init__(self)

        def compose_node(self, parent: Node | None, index: Any) -> Node | None:
            event = self.peek_event()
            if event.anchor is not None:
                raise ComposerError(
                    None, None, "anchors and aliases are not read; write the value out", event.start_mark
                )
            if event.tag is not None:
                raise ComposerError(None, None, "tags are not read", event.start_mark)
            if self.depth == _DEEPEST:
                raise ComposerError(None, None, f"more than {_DEEPEST} levels inside each other", event.start_mark)
            self.depth += 1
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

        def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Any, Any]:
            seen = set()
            for key, _ in node.value:
                if isinstance(key, ScalarNode):
                    if key.value in seen:
                        message = f"the key {key.value[:40]!r} is there twice"
                        raise ConstructorError(None, None, message, key.start_mark)
                    seen.add(key.value)
            return super().construct_mapping(node, deep)

        def construct_integer(self, node: ScalarNode) -> int:
            value = self.construct_yaml_int(node)
            if value.bit_length() > 63:
                raise ConstructorError(None, None, f"{node.value[:20]}... is too large a number", node.start_mark)
            return value

    Loader.add_constructor("tag:yaml.org,2002:int", Loader.construct_integer)
    return Loader


# libyaml reads all study files in a sixth of the time, which help texts wait for;
# the type stubs of PyYAML lack `__with_libyaml__`
_Loader = loader(yaml.cyaml.CParser if yaml.__with_libyaml__ else PythonEvents)  # type: ignore[attr-defined]


def load(text: str, reader: Any = _Loader) -> Any:
    """The value that a YAML document of plain values describes.

    Raises:
        YAMLError: it is none, or describes more than plain values.
    """
    if len(text) > _LONGEST:
        raise yaml.YAMLError(f"longer than {_LONGEST:,} characters")
    try:
        document = reader(text)
        try:
            return document.get_single_data()
        finally:
            document.dispose()
    except ValueError as error:  # of dates that are not in the calendar, and of numbers with thousands of digits
        raise yaml.YAMLError(str(error)) from None


def reason(error: Exception) -> str:
    """Why something cannot be read, short and on one line."""
    return " ".join(str(error).split())[:200]
