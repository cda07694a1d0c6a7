"""Plugins that cannot be loaded, and study files outside the package that cannot be run."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.badinput.datasets import folder
from tests.badinput.place import Case, Place
from tests.badinput.studies import VALID

TWICE = """\
from harness.registry import Registry

losses = Registry("loss")
losses.add("DKD", 1)
losses.add("DKD", 2)
"""
LOSS = """\
from harness.distill.losses import MethodOptions, loss, option

class Own(MethodOptions):
    weight: float = option(1.0, "weight", ge=0)

@loss("Own", label="own", version=1, options=Own, needs=("teacher",))
def own(step, options):
    return options.weight * step.query.sum()
"""
BACKBONE = """\
from harness.models import Backbone, backbone

@backbone("own", label="own", version=1)
class Own(Backbone):
    kernel = "dot"
"""
#: the plugin's text, and what is said
PLUGINS: dict[str, tuple[str | bytes, str]] = {
    "no Python": ("def x(:\n", r"plugin mine\.py: fails when it is loaded, line 1 \(SyntaxError: "),
    "no text": (b"\xff\xfe\x00", r"plugin mine\.py: cannot be read \(it is no UTF-8 text\)"),
    "NUL bytes": (b"\0" * 100, r"plugin mine\.py: fails when it is loaded.*null bytes"),
    "an import of nothing": (
        "\nimport nosuch\n",
        r"plugin mine\.py: fails when it is loaded, line 2 \(ModuleNotFoundError",
    ),
    "an error of its own": ("\n\n1 / 0\n", r"plugin mine\.py: fails when it is loaded, line 3 \(ZeroDivisionError"),
    "an error in a call": ("def f():\n    raise OSError('x\\ny')\nf()\n", r"loaded, line 2 \(OSError: x y\)"),
    "an end of the program": (
        "import sys\nsys.exit(0)\n",
        r"plugin mine\.py: fails when it is loaded, line 2 \(SystemExit",
    ),
    "control characters": ("raise ValueError('\\x1b[2J')\n", r"plugin mine\.py: fails when it is loaded, line 1"),
    "endless recursion": ("def f(): f()\nf()\n", r"plugin mine\.py: fails when it is loaded, line 1 \(RecursionError"),
    "a name twice": (TWICE, r"plugin mine\.py: loss 'DKD': is registered already by plugin mine\.py; choose another"),
    "an option with a bad default": (
        LOSS.replace("option(1.0", "option(-1.0"),
        r"plugin mine\.py: loss 'Own': the default of option 'weight' is not valid: Input should be greater",
    ),
    "an option without a default": (
        LOSS.replace('float = option(1.0, "weight", ge=0)', "float"),
        r"plugin mine\.py: loss 'Own': option 'weight' has no default",
    ),
    "a name that arms have already": (LOSS.replace('"Own"', '"none"'), r"loss 'none': this name has a meaning in arms"),
    "a name that the package has": (LOSS.replace('"Own"', '"L2"'), r"loss 'L2': is registered already by the package"),
    "a version below 1": (LOSS.replace("version=1", "version=0"), r"loss 'Own': version must be 1 or more, not 0"),
    "a colour that is none": (LOSS.replace("version=1", 'version=1, colour="red"'), r"'red' is no colour"),
    "a backbone without recipes": (BACKBONE, r"backbone 'own': class Own does not set time_input"),
    "a name with blanks": (TWICE.replace('"DKD", 1', '"D K D", 1'), r"loss 'D K D': a name has up to 40 letters"),
}
#: paths of plugins, and what is said
PATHS = {
    "nosuch.py": r"plugin nosuch\.py: cannot be read \(No such file or directory\)",
    "set": r"plugin set: is no Python file; its name must end in \.py",
    "/dev/zero": r"plugin /dev/zero: is no Python file",
    "": r"plugin \.: is no Python file",
    "\x1b[2J.py": r"plugin .*cannot be read",
    "x" * 300 + ".py": r"cannot be read \(File name too long\)",
}


def plugin(content: str | bytes, name: str = "mine.py") -> Callable[[Place], object]:
    """A data set, and a plugin beside it."""

    def build(place: Place) -> None:
        folder()(place)
        place.write(name, content)

    return build


def study(name: str, content: str) -> Callable[[Place], object]:
    """A data set, and a study file beside it."""
    return plugin(content, name)


def cases() -> Iterator[Case]:
    """All of them."""
    run = ("study", "ablation", "--dataset", "./set")
    for name, (content, message) in PLUGINS.items():
        yield Case(name, (*run, "--plugin", "mine.py"), message, plugin(content))
    for path, message in PATHS.items():
        yield Case(f"path {path[:20]!r}", (*run, "--plugin", path), message, folder())
    bad = plugin("1 / 0\n")
    message = r"plugin mine\.py: fails when it is loaded, line 1"
    yield Case("when it is described", ("study", "describe", "ablation", "--plugin", "mine.py"), message, bad)
    yield Case("in the environment", run, message, bad, env={"HARNESS_PLUGINS": "mine.py"})

    def two(place: Place) -> None:
        plugin("a = 1\n")(place)
        place.write("other/mine.py", "a = 2\n")

    both = (*run, "--plugin", "mine.py", "--plugin", "other/mine.py")
    yield Case(
        "two of one name", both, r"plugin other/mine\.py: another plugin is called 'mine', mine\.py; rename", two
    )

    unmet = plugin(LOSS.replace('needs=("teacher",)', 'needs=("oracle",)'))
    asked = (*run, "--plugin", "mine.py", "--arms", "L1+Own")
    yield Case("what no teacher yields", asked, r"arm 'L1\+Own': Own needs 'oracle', which no teacher yields", unmet)

    start = ("study", "run", "mine.yaml", "--dataset", "./set")
    yield Case("no study file", start, r"study file mine\.yaml: cannot be read \(.*No such file", folder())
    yield Case(
        "a name for a file", ("study", "run", "ablation"), r"run ablation: takes a study file as my\.yaml", folder()
    )
    same = study("grid.yaml", VALID.replace("name: mine", "name: grid"))
    message = r"study file grid\.yaml: the package has a study 'grid'; name file and study otherwise"
    yield Case("a file with the name of a study", ("study", "run", "grid.yaml"), message, same)
    yield Case("its description", ("study", "describe", "grid.yaml"), message, same)
    other = study("mine.yaml", VALID.replace("name: mine", "name: other"))
    yield Case("another name than the file's", start, r"mine\.yaml: name: must be that of the file, 'mine'", other)
    paths = study("../mine.yaml", VALID)
    yield Case("a report of none", ("report", "run", "mine.yaml"), r"there is no such file", paths)
    kind = study("mine.yaml", VALID + "report: chart\n")
    yield Case("an unknown kind of report", start, r"study file mine\.yaml: report: unknown kind 'chart': ", kind)
