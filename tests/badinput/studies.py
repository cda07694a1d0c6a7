"""Broken study files, read by ``python -m harness.study describe mine``."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.badinput.place import Case, Place

VALID = """\
name: mine
title: A title
about: What it is about
arms: [none]
backbone: ttranse
presets: {quick: {about: small, seeds: 1}, default: {about: usual, seeds: 3}}
"""
DESCRIBE = ("study", "describe", "mine")


def file(content: str | bytes) -> Callable[[Place], object]:
    """A folder of studies with this one, and a good one beside it."""

    def build(place: Place) -> None:
        place.write("studies/mine.yaml", content)
        place.write("studies/other.yaml", VALID.replace("name: mine", "name: other"))
        place.studies = place.work / "studies"

    return build


def laughs() -> str:
    """The billion laughs: ten lists of ten of the one before."""
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(1, 10)]
    return "\n".join(lines) + "\n"


#: what cannot be read as YAML of plain values
UNREADABLE: dict[str, tuple[str | bytes, str]] = {
    "no YAML": ("a: [", r"studies/mine\.yaml: cannot be read"),
    "an empty file": ("", r"mine\.yaml: a mapping with name"),
    "a list": ("- a\n", r"mine\.yaml: a mapping with name"),
    "a word": ("word", r"mine\.yaml: a mapping with name"),
    "NUL bytes": (b"\0" * 100, r"mine\.yaml: cannot be read"),
    "Latin-1": (VALID.replace("A title", "é").encode("latin-1"), r"mine\.yaml: cannot be read"),
    "UTF-16": (VALID.encode("utf-16"), r"mine\.yaml: cannot be read"),
    "an escape sequence": (VALID.replace("A title", "\x1b[2J"), r"mine\.yaml: cannot be read"),
    "tabs": ("name:\n\tmine\n", r"mine\.yaml: cannot be read"),
    "two documents": (VALID + "---\n" + VALID, r"mine\.yaml: cannot be read"),
    "Python in a tag": (VALID + "x: !!python/object/apply:os.mkdir [executed]\n", r"tags are not read"),
    "Python at the top": ("!!python/object/apply:os.mkdir [executed]\n", r"tags are not read"),
    "a module in a tag": (VALID + "x: !!python/name:os.system\n", r"tags are not read"),
    "a tag of its own": (VALID + "x: !mine 3\n", r"tags are not read"),
    "a tag of YAML": (VALID + "x: !!set {a, b}\n", r"tags are not read"),
    "a false number": (VALID + "x: !!int ten\n", r"tags are not read"),
    "an anchor": (VALID + "x: &a 3\n", r"anchors and aliases are not read"),
    "an alias": (VALID + "x: *a\n", r"mine\.yaml: cannot be read"),
    "a list that holds itself": (VALID + "x: &a [*a]\n", r"anchors and aliases are not read"),
    "a billion laughs": (laughs() + VALID, r"anchors and aliases are not read"),
    "laughs in a setting": (laughs() + VALID + "settings: {loss: {alpha: *a9}}\n", r"anchors and aliases are not read"),
    "100,000 lists inside each other": (VALID + "x: " + "[" * 100_000, r"20 levels|nesting depth"),
    "100,000 mappings inside each other": (
        VALID + "x: " + "{a: " * 100_000,
        r"20 levels|nesting depth",
    ),
    "100,000 blocks inside each other": (VALID + "x:\n  " + "- " * 100_000 + "a", r"more than 20 levels"),
    "a file of 5 MB": (VALID + "# " + "x" * 5_000_000, r"longer than 1,000,000 characters"),
    "a number of 5,000 digits": (VALID + f"x: {'9' * 5000}\n", r"mine\.yaml: cannot be read"),
    "a number of 20,000 hexadecimal digits": (VALID + f"x: 0x{'f' * 20000}\n", r"is too large a number"),
    "a day that is none": (VALID + "x: 2014-99-99\n", r"month must be in 1\.\.12"),
    "a key twice": (VALID + "title: another\n", r"the key 'title' is there twice"),
    "a list for a key": (VALID + "? [a]\n: 1\n", r"unhashable key"),
    "a merge of nothing": (VALID + "<<: 3\n", r"mine\.yaml: cannot be read"),
    "an equals sign": (VALID + "x: =\n", r"mine\.yaml: cannot be read"),
}
#: what is no study: text in the place of another, and what is said
CHANGES = {
    "an unknown key": ("arms: [none]", "armz: [none]", r"unknown key 'armz'; did you mean 'arms'"),
    "no title": ("title: A title\n", "", r"title: Field required"),
    "no name": ("name: mine\n", "", r"name: Field required"),
    "another name": ("name: mine", "name: other", r"name: must be that of the file, 'mine'"),
    "a path for a name": ("name: mine", "name: ../../outside/mine", r"name: "),
    "a flag for a name": ("name: mine", "name: --help", r"name: "),
    "a number for a name": ("name: mine", "name: 3", r"name: "),
    "a list for a title": ("A title", "[a, b]", r"title: "),
    "nothing for a title": ("A title", "", r"title: "),
    "control characters in a title": ("A title", '"\\e[2J"', r"title: holds a control character"),
    "a title of the terminal": ("A title", '"\\e]0;evil\\a"', r"title: holds a control character"),
    "a change of direction in a title": ("A title", '"\\u202eevil"', r"title: holds a control character"),
    "a surrogate in a title": ("A title", '"\\ud800"', r"title: |cannot be read"),
    "control characters in about": ("What it is about", '"\\x9b2J"', r"about: holds a control character"),
    "no backbone": ("backbone: ttranse\n", "", r"backbone: Field required"),
    "an unknown backbone": ("ttranse", "transe", r"unknown backbone 'transe': did you mean 'ttranse'"),
    "a path for a backbone": ("ttranse", "../../x", r"unknown backbone"),
    "no arms": ("arms: [none]\n", "", r"arms: a study needs at least one"),
    "an empty list of arms": ("[none]", "[]", r"arms: a study needs at least one"),
    "an unknown arm": ("[none]", "[L9]", r"arms\.0: "),
    "a word for arms": ("[none]", "none", r"arms: "),
    "a mapping for arms": ("[none]", "{none: 1}", r"arms: "),
    "a number for an arm": ("[none]", "[1]", r"arms\.0: "),
    "a list inside arms": ("[none]", "[[none]]", r"arms\.0: "),
    "no presets": ("presets: {quick: {about: small, seeds: 1}, default: {about: usual, seeds: 3}}\n", "", r"presets: "),
    "empty presets": ("{quick: {about: small, seeds: 1}, default: {about: usual, seeds: 3}}", "{}", r"presets: "),
    "a list of presets": ("{quick: {about: small, seeds: 1}, default: {about: usual, seeds: 3}}", "[a]", r"presets: "),
    "a path for a preset": ("quick:", "../../outside:", r"presets\.\.\./\.\./outside"),
    "markup for a preset": ("quick:", '"[/x]":', r"presets\.\[/x\]"),
    "no seeds": ("seeds: 1", "seeds: 0", r"presets\.quick\.seeds: "),
    "negative seeds": ("seeds: 1", "seeds: -1", r"presets\.quick\.seeds: "),
    "a billion seeds": ("seeds: 1", "seeds: 1000000000", r"presets\.quick\.seeds: .*1000"),
    "1e400 seeds": ("seeds: 1", "seeds: 1e400", r"presets\.quick\.seeds: "),
    "NaN seeds": ("seeds: 1", "seeds: .nan", r"presets\.quick\.seeds: "),
    "half a seed": ("seeds: 1", "seeds: 0.5", r"presets\.quick\.seeds: "),
    "a list of seeds": ("seeds: 1", "seeds: [1, 2]", r"presets\.quick\.seeds: "),
    "a preset's unknown arm": ("seeds: 1", "seeds: 1, arms: [L2]", r"there is no arm 'L2'"),
    "a preset's unknown key": ("seeds: 1", "seeds: 1, seed: 2", r"unknown key 'presets\.quick\.seed'"),
}
#: more lines of a study
LINES = {
    "an unknown setting": ("settings: {loss: {alfa: 1}}", r"unknown key 'loss\.alfa'; did you mean 'alpha'"),
    "NaN for a setting": ("settings: {loss: {alpha: .nan}}", r"loss\.alpha: .*finite"),
    "infinity for a setting": ("settings: {loss: {alpha: .inf}}", r"loss\.alpha: "),
    "minus infinity for a setting": ("settings: {loss: {temperature: -.inf}}", r"loss\.temperature: "),
    "a negative setting": ("settings: {loss: {alpha: -1}}", r"loss\.alpha: "),
    "a text for a setting": ("settings: {student: {dim: many}}", r"student\.dim: "),
    "a list for a setting": ("settings: {student: {dim: [1]}}", r"student\.dim: "),
    "a huge setting": ("settings: {student: {dim: 1000000000}}", r"student\.dim: "),
    "a huge batch": ("settings: {student: {batch_size: 100000000000}}", r"student\.batch_size: "),
    "a huge list of targets": ("settings: {loss: {targets: 100000000000}}", r"loss\.targets: "),
    "a huge head": ("settings: {semantic: {dim: 100000000000}}", r"semantic\.dim: "),
    "a number for settings": ("settings: 3", r"settings: "),
    "a list for settings": ("settings: [loss]", r"settings: "),
    "a number for a part": ("settings: {loss: 3}", r"loss: "),
    "an axis among settings": ("settings: {seed: 1}", r"'seed' is an axis of the design"),
    "more epochs of stage 1 than of both": (
        "settings: {student: {stage1_epochs: 99}}",
        r"stage1_epochs \(99\) must not",
    ),
    "a teacher's unknown backbone": ("settings: {teacher: {backbone: x}}", r"teacher\.backbone: unknown 'x'"),
    "an unknown report": ("report: ../../evil", r"report: "),
    "an unknown measure": ("measure: [everything]", r"measure\.0: "),
    "a study like itself": ("like: mine", r"like: 'mine' is like another itself"),
    "a study like none": ("like: nosuch", r"like: unknown study 'nosuch'"),
    "a path for the like": ("like: ../../outside/mine", r"like: unknown study"),
    "a variant of an unknown arm": ("variants: {mine: {arm: L9}}", r"variants\.mine\.arm: "),
    "a variant without an arm": ("variants: {mine: {}}", r"variants\.mine\.arm: "),
    "a variant named as an arm": ("variants: {L1: {arm: L1}}", r"variants: 'L1' is the name of an arm"),
    "control characters in a variant": ('variants: {"\\e[2J": {arm: L1}}', r"holds a control character"),
    "a list of variants": ("variants: [mine]", r"variants: "),
    "a variant's wrong setting": ("variants: {mine: {arm: L1+L2, settings: {loss: {delta: -1}}}}", r"loss\.delta: "),
    "an unknown factor": ("grid: {loss.alfa: [1, 2]}", r"grid: unknown key 'loss\.alfa', did you mean"),
    "an axis as factor": ("grid: {seed: [1, 2]}", r"grid: unknown key 'seed'"),
    "a factor without levels": ("grid: {loss.alpha: []}", r"grid: loss\.alpha has no levels"),
    "a number for levels": ("grid: {loss.alpha: 3}", r"grid\.loss\.alpha: "),
    "NaN for a level": ("grid: {loss.alpha: [1, .nan]}", r"loss\.alpha: "),
    "a list for a level": ("grid: {loss.alpha: [[1]]}", r"loss\.alpha: "),
    "a grid of a billion points": (
        "grid: {"
        + ", ".join(f"{key}: {list(range(1, 101))}" for key in ("student.dim", "teacher.dim", "loss.targets"))
        + ", time.size: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}",
        r"grid: has more than 10,000 combinations",
    ),
    "a comparison of nothing": ("compare: {none: [L7]}", r"there is no arm 'L7'"),
    "a comparison with nothing": ("compare: {L7: [none]}", r"there is no arm 'L7'"),
    "a number for a comparison": ("compare: {none: 3}", r"compare\.none: "),
    "a contrast of two": ("contrasts: {c: [none, none]}", r"contrasts\.c"),
    "a contrast of nothing": ("contrasts: {c: [none, none, none, L7]}", r"there is no arm 'L7'"),
    "a search without factors": ("search: {arm: L1, factors: {}, trials: 2}", r"search: factors: "),
    "a search of an unknown factor": (
        "search: {arm: L1, factors: {loss.alfa: {low: 0, high: 1}}, trials: 2}",
        r"search: unknown factor 'loss\.alfa'",
    ),
    "a range from high to low": (
        "search: {arm: L1, factors: {loss.alpha: {low: 2, high: 1}}, trials: 2}",
        r"low \(2\) must lie below high",
    ),
    "a range to infinity": (
        "search: {arm: L1, factors: {loss.alpha: {low: 0.5, high: .inf}}, trials: 2}",
        r"search: factors\.loss\.alpha\.high",
    ),
    "a range from NaN": ("search: {arm: L1, factors: {loss.alpha: {low: .nan, high: 1.0}}, trials: 2}", r"alpha\.low"),
    "a logarithm of zero": (
        "search: {arm: L1, factors: {loss.alpha: {low: 0, high: 1.0, log: true}}, trials: 2}",
        r"search: factors\.loss\.alpha: ",
    ),
    "a step back": (
        "search: {arm: L1, factors: {loss.alpha: {low: 0.1, high: 1.0, step: -0.1}}, trials: 2}",
        r"search: ",
    ),
    "a billion configurations": (
        "search: {arm: L1, factors: {loss.alpha: {low: 0.1, high: 1.0}}, trials: 1000000000}",
        r"search: trials: ",
    ),
    "a search beside a grid": (
        "grid: {loss.delta: [1, 2]}\nsearch: {arm: L1, factors: {loss.alpha: {low: 0.1, high: 1.0}}, trials: 2}",
        r"a grid or a search, not both",
    ),
    "tuning without a budget": (
        "tune: {trials: 0, space: {all: {student.dim: {low: 5, high: 50}}}}",
        r"tune: trials: .*greater than or equal to 1",
    ),
    "tuning of a loss that no arm has": (
        "tune: {trials: 2, space: {L9: {student.dim: {low: 5, high: 50}}}}",
        r"no arm of the study has the loss 'L9'",
    ),
    "tuning of what does not act": (
        "tune: {trials: 2, space: {all: {loss.alpha: {low: 1, high: 5}}}}",
        r"loss\.alpha does not act in arm none",
    ),
    "a range that no trial can have": (
        "search: {arm: L1, factors: {loss.alpha: {low: 0.1, high: 9999.0}}, trials: 2}",
        r"loss\.alpha: .*less than or equal",
    ),
}
#: commands other than 'describe' that read every study file
OTHERS = {
    "list": ("study", "list"),
    "all reports": ("report", "claims"),
    "the study itself": ("study", "mine"),
    "its report": ("report", "mine"),
}


def cases() -> Iterator[Case]:
    """All of them."""
    for name, (content, message) in UNREADABLE.items():
        yield Case(name, DESCRIBE, message, file(content))
    for name, (old, new, message) in CHANGES.items():
        assert old in VALID, name
        yield Case(name, DESCRIBE, message, file(VALID.replace(old, new, 1)))
    for name, (line, message) in LINES.items():
        yield Case(name, DESCRIBE, message, file(f"{VALID}{line}\n"))
    for command, argv in OTHERS.items():
        for name in ("a billion laughs", "Python in a tag", "a word", "100,000 lists inside each other"):
            slow = command != "list"
            yield Case(f"{name}, {command}", argv, r"mine\.yaml: ", file(UNREADABLE[name][0]), slow=slow)
        for name in ("a list for a title", "a mapping for arms", "control characters in a title"):
            old, new, _ = CHANGES[name]
            yield Case(f"{name}, {command}", argv, r"mine\.yaml: ", file(VALID.replace(old, new, 1)))
