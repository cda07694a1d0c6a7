"""``--config run.yaml``: options of a command from a file, each as it would be written on the command line.

A key is the long name of an option without its dashes; what the command line gives itself wins over the file:

    dataset: wiki
    arms: [none, L1, L1+L2]
    set:
      loss: {alpha: 0.5}
      llm.model: minilm
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
import yaml
from typer.core import TyperCommand

from harness.design import strict_yaml
from harness.design.dotted import leaves
from harness.errors import UserError, nearest

#: where a context keeps the words of its command, those of a file written out
WORDS = "harness.words"
OPTION = "--config"


class WithConfig(TyperCommand):
    """A command with an option ``--config``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        parser = self.make_parser(ctx)
        given, *_ = parser.parse_args(list(args))
        path = given.get("config")
        if path is None or ctx.resilient_parsing:
            ctx.meta[WORDS] = list(args)  # which parsing takes apart
            return super().parse_args(ctx, args)
        options = {
            name.removeprefix("--"): option for option in self.params for name in option.opts if name.startswith("--")
        }
        known = {name: option for name, option in options.items() if name != OPTION.removeprefix("--")}
        content = _content(path)
        if unknown := [key for key in content if key not in known]:
            raise UserError(f"config {path}: unknown option {unknown[0]!r}: {nearest(str(unknown[0]), known)}")
        wanted = {key: value for key, value in content.items() if known[key].multiple or known[key].name not in given}
        words = [word for key, value in wanted.items() for word in _words(path, key, value, known[key])]
        ctx.meta[WORDS] = [*words, *_without(args)]
        try:
            return super().parse_args(ctx, [*words, *args])
        except typer.BadParameter as error:
            if error.param is None or error.param.name not in {known[key].name for key in wanted}:
                raise
            raise UserError(f"config {path}: {error.format_message()}") from None


def given(context: typer.Context) -> list[str]:
    """The words of such a command as it was given, options of a file written out."""
    return [*context.command_path.split(), *context.meta[WORDS]]


def _content(path: str) -> Mapping[str, Any]:
    try:
        content = strict_yaml.load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"config {path}: cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"config {path}: cannot be read ({strict_yaml.reason(error)})") from None
    if not isinstance(content, dict):
        raise UserError(f"config {path}: a mapping of options is expected, such as 'dataset: wiki'")
    return content


def _words(path: str, key: str, value: Any, option: Any) -> Iterator[str]:
    """An option as words of the command line."""
    if isinstance(value, dict) and key == "set":
        value = [f"{name}={_text(leaf)}" for name, leaf in leaves(value)]
    elif not option.multiple and isinstance(value, list):
        value = ",".join(map(_text, value))  # a list of arms
    for item in value if isinstance(value, list) else [value]:
        if item is None or isinstance(item, bool | list | dict):
            raise UserError(f"config {path}: {key}: give a text or a number, not {json.dumps(item)[:40]}")
        yield from (f"--{key}", str(item))


def _text(value: Any) -> str:
    """A value as ``--set`` reads it: a text that would be read as something else is quoted."""
    if isinstance(value, str):
        try:
            if strict_yaml.load(value) == value:
                return value
        except yaml.YAMLError:
            pass
    return json.dumps(value, default=str)


def _without(args: Sequence[str]) -> list[str]:
    """Words of a command line without the file's."""
    before = ["", *args]
    return [
        word
        for previous, word in zip(before, args, strict=False)
        if OPTION not in (previous, word) and not word.startswith(f"{OPTION}=")
    ]
