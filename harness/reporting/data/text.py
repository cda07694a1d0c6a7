"""Numbers as a reader of a paper expects them, and made safe for spreadsheets and LaTeX."""

from __future__ import annotations

import math
import re

from harness import console

MINUS = "\N{MINUS SIGN}"
#: Between a number and its unit, which must not part at the end of a line.
NBSP = "\N{NO-BREAK SPACE}"


def number(value: float, decimals: int, signed: bool = False) -> str:
    """A fixed-point number with thousands separators, a true minus sign and no negative zero; "–" for NaN."""
    if math.isnan(value):
        return "–"
    rounded = round(value, decimals) + 0.0
    text = f"{abs(rounded):,.{decimals}f}"
    if rounded < 0:
        return MINUS + text
    return f"+{text}" if signed and rounded > 0 else text


def interval(low: float, high: float, decimals: int) -> str:
    """The two ends of an interval in brackets; an end that is not zero is not rounded to zero."""
    return f"[{_end(low, decimals)}, {_end(high, decimals)}]"


def _end(value: float, decimals: int) -> str:
    # whether an interval excludes zero must show: a few decimals more, until there is a digit
    more = next((extra for extra in range(4) if round(value, decimals + extra) != 0), 0)
    return number(value, decimals + more)


def p_value(p: float) -> str:
    """A p value: "0.21"; "< 0.001" where it is smaller, "–" for NaN."""
    if math.isnan(p):
        return "–"
    if p < 0.001:
        return "< 0.001"
    digits = 2 if p >= 0.1 else 3
    return "1" if round(p, digits) >= 1 else f"{p:.{digits}f}"


def p_equals(p: float) -> str:
    """The same in a sentence: "p = 0.21", "p < 0.001"."""
    return f"p {p_value(p)}" if p < 0.001 else f"p = {p_value(p)}"


def percent(share: float, signed: bool = True, decimals: int = 1) -> str:
    """A share as percent."""
    return f"{number(100 * share, decimals, signed=signed)}{NBSP}%"


def duration(seconds: float) -> str:
    """The same as `harness.console.duration`, without a break before a unit; "–" for NaN."""
    return "–" if math.isnan(seconds) else console.duration(seconds).replace(" ", NBSP)


_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    MINUS: r"$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "Δ": r"$\Delta$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "δ": r"$\delta$",
    "σ": r"$\sigma$",
    "ω": r"$\omega$",
    "²": r"$^2$",
    "†": r"$\dagger$",
    "–": "--",
    "·": r"$\cdot$",
    NBSP: "~",
}
_LATEX_PATTERN = re.compile("|".join(map(re.escape, _LATEX)))


def latex(text: str) -> str:
    """Text as LaTeX that prints it: no character of it is read as a command."""
    return _LATEX_PATTERN.sub(lambda match: _LATEX[match.group()], text.replace("\n", " "))
