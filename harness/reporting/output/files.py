"""Files of a report appear together and whole, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import harness
from harness.errors import UserError, is_readable
from harness.scratch import scratch


@contextmanager
def staging(output: Path) -> Iterator[Path]:
    """Yield a temporary folder whose files move to ``output`` when the block ends without an error.

    Each file is moved by renaming it, so no reader ever sees half of one; after an error nothing is left behind.

    Raises:
        UserError: the folder cannot be made or written (read-only, full, or a file is in its place), or its name must
            not be shown.
    """
    if not is_readable(str(output)):
        raise UserError(f"cannot write the report to {output}: the name holds control characters; name another folder")
    try:
        output.mkdir(parents=True, exist_ok=True)
        with scratch(".unfinished-", output) as folder:
            yield folder
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                target = output / path.relative_to(folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                path.replace(target)
    except OSError as error:
        raise UserError(
            f"cannot write the report to {output}: {error.strerror or error}; name another folder"
        ) from error


def templates() -> Path:
    """The folder of the Typst templates: inside an installed package, or ``reports/`` of a checkout.

    Raises:
        UserError: neither is there.
    """
    package = Path(harness.__file__).parent
    for folder in (package / "_templates", package.parent / "reports"):
        if (folder / "style.typ").is_file():
            return folder
    raise UserError(f"the report templates are missing from {package}; reinstall the package")
