"""The one error type that means "the user can fix this"."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable

#: what people call things that have another name here
_ALSO_CALLED = {
    "cuda": ("gpu",),
    "wiki": ("wikidata12k", "wikidata"),
    "yago": ("yago11k",),
    "ta-distmult": ("distmult",),
    "L1": ("bkd", "kd"),
    "none": ("undistilled",),
    "default": ("normal", "medium"),
}


class UserError(Exception):
    """A mistake that the user can correct: what is wrong, where (file, option, key), and what to do about it.

    Command lines print its text as one line on standard error and exit with code 2.
    """


def is_readable(text: str) -> bool:
    """Whether a text has no characters that a terminal takes for commands, and none that hide others.

    >>> is_readable("Zürich, 東京"), is_readable("two\\nlines"), is_readable("\\x1b[2J"), is_readable("\\u202e")
    (True, False, False, False)
    """
    return not any(unicodedata.category(c) in ("Cc", "Cf", "Cs") for c in text)


def nearest(wrong: str, valid: Iterable[str]) -> str:
    """Return the tail of an error line: the nearest valid name, if any, and all valid names.

    >>> nearest("Wikki", ["wiki", "yago"])
    "did you mean 'wiki'? (one of: wiki, yago)"
    """
    names = sorted(valid)
    by_lower = {name.lower(): name for name in names}
    by_lower |= {other: name for name in names for other in _ALSO_CALLED.get(name, ())}
    close = difflib.get_close_matches(wrong.lower(), by_lower, n=1, cutoff=0.5)
    hint = f"did you mean '{by_lower[close[0]]}'? " if close else ""
    return f"{hint}(one of: {', '.join(names)})"
