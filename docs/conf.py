"""How Sphinx builds the site: ``make docs`` writes it to docs/_build, without a network."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert

import harness
from harness.design.settings import settings
from harness.distill import losses
from harness.distill.losses import base
from harness.reporting.claims import RULES
from harness.trial.spec import TrialSpec
from harness.vocabulary import CLAIMS

project = html_title = "Distilling temporal knowledge graphs"
release = version = harness.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "jupyter_execute"]
html_theme = "furo"
html_copy_source = html_show_copyright = False

myst_enable_extensions = ["alert", "deflist", "dollarmath", "substitution"]
myst_heading_anchors = 4

# the tutorial runs when the site is built: what it shows is what the code does
nb_execution_mode = "cache"
nb_execution_timeout = 600
nb_execution_raise_on_error = True

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"


def settings_by_part() -> str:
    """Every setting of a trial with its default and meaning, as a table a part."""
    parts = []
    for title, rows in settings(TrialSpec()).items():
        lines = [f"| `{name}` | {value} | {about} |" for name, value, about in rows]
        parts.append(
            "\n".join([f"## {title.capitalize()}", "", "| setting | default | what it is |", "|---|---|---|", *lines])
        )
    return "\n\n".join(parts)


def rules() -> str:
    """What decides each claim, as a table."""
    lines = [f"| {claim} | {CLAIMS[claim]} | {rule} |" for claim, rule in RULES.items()]
    return "\n".join(["| | claim | rule |", "|---|---|---|", *lines])


def losses_by_file() -> str:
    """The docstring of each loss's module, as it stands."""
    modules = [import_module(f"{losses.__name__}.{info.name}") for info in iter_modules(losses.__path__)]
    shown = [(module.__name__.rpartition(".")[2], module.__doc__) for module in modules if module is not base]
    return "\n\n".join(f"## {name}\n\n```text\n{text}```" for name, text in shown)


myst_substitutions = {"settings": settings_by_part(), "rules": rules(), "losses": losses_by_file()}


def formula(writer: Any, node: nodes.Element) -> None:
    """Write a formula as MathML, which browsers show without a script from elsewhere."""
    display = "block" if isinstance(node, nodes.math_block) else "inline"
    writer.body.append(convert(node.astext(), display=display))
    raise nodes.SkipNode


def setup(app: Any) -> None:
    """Register what writes formulas."""
    app.add_html_math_renderer("mathml", (formula, None), (formula, None))


html_math_renderer = "mathml"
