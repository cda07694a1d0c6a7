"""What all command lines share: user errors become one line and exit code 2."""

from __future__ import annotations

import os
import sys

import typer

from harness.errors import UserError


def run(app: typer.Typer) -> None:
    """Run ``app`` and exit: 2 after a ``UserError``, 130 after Ctrl-C, 141 when nobody reads the output any more."""
    try:
        app()
    except UserError as error:
        # control characters in a file's content must not reach the terminal
        line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(error))
        print(f"error: {line}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
