"""``tkg-distill TOOL ...``, also ``python -m harness TOOL ...``: all command lines under one name.

A tool is imported when it is called: this one's help and completion wait for none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from harness import console

#: by name the module, which has the command line (``app``) or makes it (``commands``), and what it is for
TOOLS = {
    "study": ("harness.study", "Run studies: all trials of a design, resumable, with a report at the end."),
    "report": ("harness.report", "Make reports of finished studies from their store."),
    "results": ("harness.results", "List, show, compare and export the results of a store."),
    "student": ("harness.student.__main__", "A distilled student as one file: make it, ask it, score it, serve it."),
    "data": ("harness.data.__main__", "Look at data sets, and check your own."),
    "bench": ("harness.bench.__main__", "Measure the engine on this machine."),
    "doctor": ("harness.doctor.__main__", "Show versions, machine, data and weights, to be pasted into an issue."),
}


class _Tools(TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:
        return list(TOOLS)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        if args[0] not in TOOLS:
            return super().resolve_command(ctx, args)
        name, *others = args
        module = import_module(TOOLS[name][0])
        made = module.commands() if hasattr(module, "commands") else module.app
        return name, typer.main.get_command(made), others


app = console.application(
    "Knowledge distillation on temporal knowledge graphs: studies, reports, students.", cls=_Tools, add_completion=True
)
for _name, (_, _about) in TOOLS.items():
    app.command(_name, help=_about)(lambda: None)  # stands for the tool until it is called


def main() -> None:
    """Run the command line."""
    console.run(app, console.PROGRAM)


if __name__ == "__main__":
    main()
