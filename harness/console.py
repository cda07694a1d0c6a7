"""What all command lines share: one line and exit code 2 for a user's mistake, tables that stay readable in a pipe."""

from __future__ import annotations

import dataclasses
import errno
import inspect
import io
import os
import re
import signal
import sys
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Annotated, Any, TypeVar, get_type_hints

import typer
from rich.console import Console
from typer.core import TyperCommand

import harness
from harness.errors import UserError

Call = TypeVar("Call", bound=Callable[..., None])
#: exit codes after Ctrl-C, and after SIGTERM
INTERRUPTED, TERMINATED = 130, 143
#: the installed command, with all tools
PROGRAM = "tkg-distill"
#: what is wrong with the machine or the place, not with the program
_ENVIRONMENT = {errno.EACCES, errno.EDQUOT, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOSPC, errno.EPERM, errno.EROFS}

#: characters of an error line; what is longer quotes what was given
_LONGEST = 1500


def _show_version(is_asked_for: bool) -> None:
    if is_asked_for:
        print(f"tkg-distill-harness {harness.__version__}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
]


def application(about: str, **more: Any) -> typer.Typer:
    """A command line of several commands, with ``--version``; ``more`` as of ``typer.Typer``."""
    settings = {"no_args_is_help": True, "add_completion": False, "pretty_exceptions_enable": False}
    app = typer.Typer(help=about, **{**settings, **more})

    @app.callback()
    def _options(version: Version = False) -> None: ...

    return app


def run(app: typer.Typer | Callable[[], typer.Typer], program: str | None = None) -> None:
    """Run ``app``, or the app that a function makes, and exit.

    ``program`` is what help and hints call it, such as "python -m harness.study"; None: as it was started.

    Exit codes: 2 after a ``UserError``, a wrong command line, or a place that cannot be written; 130 after Ctrl-C and
    143 after SIGTERM, which ends a command as Ctrl-C does; 1 when nobody reads the output any more.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that lacks a letter shows "?" instead of failing
            stream.reconfigure(errors="replace")
    terminated = []

    def terminate(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        terminated.append(True)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        made = app if isinstance(app, typer.Typer) else app()
        status = made(standalone_mode=False, prog_name=program)
        if status == INTERRUPTED:  # again would only cut short how workers are ended
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            status = TERMINATED if terminated else status
        sys.stdout.flush()
    except UserError as error:
        _fail(str(error))
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        _fail(error.format_message().rstrip("."), f"see {context.command_path} --help" if context else "")
    except BrokenPipeError:
        _discard_output()
        sys.exit(1)
    except OSError as error:
        if error.errno not in _ENVIRONMENT:
            raise
        _discard_output()
        _fail(f"{error.filename or 'output'}: {error.strerror}")
    finally:
        if not terminated:
            signal.signal(signal.SIGTERM, before)
    sys.exit(status)


def duration(seconds: float) -> str:
    """Seconds as a reader takes them in: "3.1 s", "90 s", "4 min 05 s", "1 h 20 min"."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, left = divmod(round(seconds), 60)
    return f"{minutes} min {left:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def asked(names: Iterable[str]) -> list[str]:
    """Which of these commands have to be made: that which the command line begins with, or all for help and mistakes.

    Making the options of all takes longer than most commands need.
    """
    every = list(names)
    first = sys.argv[1:2]
    return first if first and first[0] in every else every


@lru_cache
def _hints(options: type) -> dict[str, Any]:
    return get_type_hints(options, include_extras=True)


def command(
    app: typer.Typer, name: str, options: type, about: str | None = None, kind: type[TyperCommand] | None = None
) -> Callable[[Call], Call]:
    """Register a command whose options are the fields of a dataclass.

    Args:
        app: gets the command.
        name: of the command.
        options: a dataclass, its fields annotated with ``typer.Option``.
        about: what the command does; None: the docstring of what is decorated.
        kind: of command; None: typer's own.

    Returns:
        A decorator of a function that takes the filled dataclass, and further parameters without defaults by their
        names as arguments of the command.
    """
    fields = {field.name: field.default for field in dataclasses.fields(options)}
    hints = _hints(options)

    def register(call: Call) -> Call:
        _, *others = inspect.signature(call, eval_str=True).parameters.values()
        more = [other for other in others if other.default is inspect.Parameter.empty]

        def filled(**values: Any) -> None:
            call(options(**{key: values.pop(key) for key in fields}), **values)

        parameters = [other.replace(kind=inspect.Parameter.KEYWORD_ONLY) for other in more]
        parameters += [
            inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[key])
            for key, default in fields.items()
        ]
        # functions have no such attribute until somebody sets it, which type checkers do not know
        filled.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        filled.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        filled.__doc__ = about or call.__doc__
        app.command(name, cls=kind)(filled)
        return call

    return register


def one_of(names: Iterable[str] | Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """What completes an option's value to one of these names; typer asks for the name of the parameter."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in (names() if callable(names) else names) if name.startswith(incomplete)]

    return complete


def tool(command: str, name: str) -> str:
    """How to call a tool, "report" say, in the way in which a command was given."""
    return f"{PROGRAM} {name}" if command.startswith(f"{PROGRAM} ") else f"python -m harness.{name}"


def console() -> Console:
    """The console for tables, which shows text as it is.

    It is as wide as the terminal, and in a pipe or file as wide as its content (or ``COLUMNS``).
    """
    fits = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if fits else 1000, soft_wrap=False, highlight=False, emoji=False)


def printable(text: str) -> str:
    """``text`` as one line without control characters, which a file's content must not send to the terminal.

    >>> printable("two\\nlines, \\x1b[2J")
    'two lines, �[2J'
    """
    spaced = re.sub(r"\s", " ", text)
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in spaced)


def spreadsheet_cell(value: object) -> object:
    """A text that a spreadsheet would run as a formula gets a leading apostrophe (OWASP: CSV injection)."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")):
        return f"'{value}"
    return value


def _fail(message: str, hint: str = "") -> None:
    if message:  # none where the help was already shown in its place
        line = printable(message)
        line = line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
        print(f"error: {line}{f' ({hint})' if hint else ''}", file=sys.stderr)
    sys.exit(2)


def _discard_output() -> None:
    """Let the interpreter's last flush of standard output succeed."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
