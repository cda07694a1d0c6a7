"""The documentation: links, names, defaults and numbers that must not go stale."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

import harness
from harness.data import UNKNOWN, Facts, KnownAnswers, Queries, TemporalGraph, Timeline, Vocabulary, expand_by_class
from harness.data.checks import FINDINGS
from harness.design import files
from harness.evaluate import PROTOCOLS, RankTask, metrics, ranks
from harness.models import BACKBONES, Backbone
from harness.reporting.harm import ALL
from harness.trial.arms import check_arm
from harness.trial.keys import Plan
from harness.trial.options import option_names
from harness.trial.spec import TrialSpec
from harness.vocabulary import CLAIMS

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(
            page
            for folder in ("docs", "docs/examples", "docs/reference", "docker", "studies", "reports")
            for page in ROOT.glob(f"{folder}/*.md")
        ),
    ]
)
IDS = [str(page.relative_to(ROOT)) for page in PAGES]
METHOD, CLAIMS_PAGE, PROTOCOL_PAGE, ARCHITECTURE = (
    (ROOT / "docs" / f"{name}.md").read_text("utf-8") for name in ("method", "claims", "protocols", "architecture")
)


def prose(text: str) -> str:
    """A page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)


def slugs(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", prose(text), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def table(text: str, after: str) -> list[list[str]]:
    """The body of the first table after a marker, cells without backticks."""
    actual = re.search(r"(?:^\|.*\|\n)+", text[text.index(after) :], re.M)
    assert actual is not None
    rows = [[cell.strip().replace("`", "") for cell in line.split("|")[1:-1]] for line in actual[0].splitlines()]
    return rows[2:]


# ---- all pages ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_somewhere(page: Path) -> None:
    text = prose(page.read_text("utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://|mailto:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{target} does not exist"
        assert file.is_relative_to(ROOT), f"{target} leaves the repository"
        if anchor:
            assert anchor in slugs(file.read_text("utf-8")), f"{target}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_names_of_files_modules_and_options_are_real(page: Path) -> None:
    text = page.read_text("utf-8")
    spans = re.findall(r"`([^`\n]+)`", prose(text))
    for path in spans:
        if re.fullmatch(r"(harness|tests|docs|docker|studies|reports)/[\w./-]*", path):
            made_later = path.startswith(("reports/output", "harness/_")) or path == "docker/.env" or "NAME" in path
            assert made_later or (ROOT / path).exists(), f"{path} does not exist"
    for module in re.findall(r"python -m (harness[\w.]*)", text):
        assert importlib.util.find_spec(module) is not None, f"{module} does not exist"
    options = set(option_names(TrialSpec))
    groups = "|".join(sorted({name.split(".")[0] for name in options if "." in name}))
    for span in spans:
        for name in re.findall(rf"^(?:--set )?((?:{groups})\.\w+)(?:=|$)", span):
            assert name in options, f"{name} is no option"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_formulas_and_code_blocks_are_closed(page: Path) -> None:
    text = page.read_text("utf-8")
    assert len(re.findall(r"^```", text, re.M)) % 2 == 0
    assert len(re.findall(r"^(?:> )?\$\$$", prose(text), re.M)) == prose(text).count("$$")
    assert prose(text).count("$$") % 2 == 0
    for formula in re.findall(r"\$\$\n(.*?)\$\$", prose(text), re.S):
        for line in (line.removeprefix("> ") for line in formula.splitlines()):
            # Markdown would take it for an item of a list, a heading or a quotation
            assert not re.match(r"\s*([-+*=#>]|\d+[.)])(?:\s|$)", line), line
    assert not re.search(r"\b(TODO|TBD|FIXME)\b", text)


def test_make_targets_are_real() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    for page in PAGES:
        named = set(re.findall(r"(?:^|`)make ([a-z][\w-]*)", page.read_text("utf-8"), re.M))
        assert named <= targets, f"{page.name}: {named - targets}"


# ---- method ---------------------------------------------------------------------------------------------------------


def test_settings_in_the_text_are_real() -> None:
    names = set(option_names(TrialSpec))
    for text in re.findall(r"`([a-z]+\.[A-Za-z_0-9.-]+)`", METHOD):
        assert text in names, f"{text} is no setting"


def test_numbers_in_the_text_are_the_defaults() -> None:
    spec = TrialSpec()
    assert f"`student.dim` dimensions ({spec.student.dim})" in METHOD
    assert f"`teacher.dim` ({spec.teacher.dim})" in METHOD
    assert f"temperature $T$ ({spec.loss.temperature:g})" in METHOD


def test_arms_are_those_of_a_trial_and_the_ablation_keeps_their_order() -> None:
    shown = [arm.strip() for row in table(METHOD, "## Arms") for arm in row[0].split(",")]
    design = yaml.safe_load((ROOT / "studies" / "ablation.yaml").read_text("utf-8"))
    assert [check_arm(arm) for arm in shown] == shown
    assert [arm for arm in shown if arm in design["arms"]] == design["arms"]
    assert [arm for arm in shown if arm in design["references"]] == design["references"]


# ---- claims ---------------------------------------------------------------------------------------------------------


def test_claims_and_their_studies() -> None:
    rows = table(CLAIMS_PAGE, "# The paper's claims")
    assert [row[0] for row in rows] == list(CLAIMS)
    claimed: dict[str, set[str]] = {}
    for claim, _, study, *_ in rows:
        claimed.setdefault(study, set()).add(claim)
    files = {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in (ROOT / "studies").glob("*.yaml")}
    assert claimed.pop(ALL) == {"C20"}  # of all studies together
    assert claimed == {name: set(design["claims"]) for name, design in files.items() if design.get("claims")}


# ---- studies --------------------------------------------------------------------------------------------------------


def test_all_studies_are_listed_and_the_example_is_one(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "studies.md").read_text("utf-8")
    assert {row[0] for row in table(page, "## The studies")} == set(files.files())
    (example,) = re.findall(r"^```yaml\n(name: .*?)^```", page, re.M | re.S)
    path = tmp_path / f"{yaml.safe_load(example)['name']}.yaml"
    path.write_text(example, encoding="utf-8")
    assert files.load(path).conditions.keys() == {"L1", "L1+L2", "tight", "teacher"}


# ---- protocols ------------------------------------------------------------------------------------------------------


def test_finding_of_repeated_triples_has_its_name() -> None:
    (name,) = re.findall(r"counts such facts\s+\(`(\w+)`\)", PROTOCOL_PAGE)
    assert name in FINDINGS


# ---- architecture ---------------------------------------------------------------------------------------------------


def test_stages_are_those_of_the_plan() -> None:
    rows = table(ARCHITECTURE, "## The cache")
    shown = {stage: () if source == "data" else tuple(source.split(", ")) for stage, source, _ in rows}
    assert shown == Plan.of(TrialSpec(arm="L1+L2+L3"), "digest", "cpu").needs


def test_contracts_are_those_of_import_linter() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    names = [contract["name"] for contract in project["tool"]["importlinter"]["contracts"]]
    assert [row[0] for row in table(ARCHITECTURE, "## Layers")] == names


def test_every_part_of_the_package_has_its_place() -> None:
    shown = set(re.findall(r"harness/(\w+)", " ".join(row[0] for row in table(ARCHITECTURE, "## Places"))))
    package = Path(harness.__file__).parent
    parts = {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert parts - {"__init__", "cli", "errors"} <= shown


# ---- changelog ------------------------------------------------------------------------------------------------------


def test_changelog_tells_of_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert text.index("## [Unreleased]") > 0
    assert harness.__version__ in text
    for name in (*BACKBONES, *PROTOCOLS):
        assert name.replace("-", "") in text.lower().replace("-", ""), name


# ---- the worked example of the page on protocols --------------------------------------------------------------------


class Fixed(Backbone):
    """Gives every query the same scores."""

    kernel = "dot"
    time_input = "classes"

    def __init__(self, values: list[float]) -> None:
        super().__init__()
        self.values = torch.tensor(values)
        self.entity = nn.Embedding(len(values), len(values))
        nn.init.eye_(self.entity.weight)
        self.relation = nn.Embedding(2, len(values))

    def encode_vectors(self, subject: Tensor, relation: Tensor, time: Tensor) -> Tensor:
        return self.values.expand(len(subject), -1)


def example(name: str) -> list[list[str]]:
    return table(PROTOCOL_PAGE, f"<!-- example: {name} -->")


ENTITIES = [row[0] for row in example("scores")]
SCORES = [float(row[1]) for row in example("scores")]


def example_graph() -> TemporalGraph:
    """Ann's teams: the one asked for in test, two in training, the others in validation (all splits are known)."""

    def facts(rows: list[list[str]]) -> Facts:
        tails = [ENTITIES.index(team) for team, _, _ in rows]
        start, end = ([UNKNOWN if row[k] == "?" else int(row[k]) for row in rows] for k in (1, 2))
        columns = [[ENTITIES.index("Ann")] * len(rows), [0] * len(rows), tails, start, end]
        return Facts(*(np.array(column, np.int64) for column in columns))

    rows = example("facts")
    return TemporalGraph(
        name="example",
        granularity="year",
        entities=Vocabulary(tuple(ENTITIES), tuple(ENTITIES)),
        relations=Vocabulary(("plays for",), ("plays for",)),
        train=facts(rows[1:3]),
        valid=facts(rows[3:]),
        test=facts(rows[:1]),
        digest="",
    )


def query(graph: TemporalGraph, start: int | None = None, end: int | None = None) -> Queries:
    fact = graph.test
    times = [fact.start if start is None else np.array([start]), fact.end if end is None else np.array([end])]
    return Queries(fact.head, fact.relation, fact.tail, *times)


def example_rank(graph: TemporalGraph, asked: Queries, protocol: str, scores: list[float] = SCORES) -> float:
    timeline = Timeline.build(graph, "width", 1)
    task = RankTask.build(asked, KnownAnswers(graph), timeline, "classes", protocol)
    (rank,) = ranks(Fixed(scores), task)
    return float(rank)


def names_of(cell: str) -> set[str]:
    return set() if cell == "–" else set(cell.split(", "))


def left_out(graph: TemporalGraph, asked: Queries, protocol: str) -> set[str]:
    _, entities = KnownAnswers(graph).pairs(asked, protocol)
    return {ENTITIES[k] for k in entities}


def test_example_covers_all_protocols() -> None:
    assert {row[0] for row in example("ranks")} | {"timeplex", "expanded", "tkbi"} == set(PROTOCOLS)
    assert {row[0] for row in table(PROTOCOL_PAGE, "## Filters")} == set(PROTOCOLS)


@pytest.mark.parametrize("row", example("ranks"), ids=lambda row: row[0])
def test_example_ranks(row: list[str]) -> None:
    protocol, out, before, tied, optimistic, pessimistic, rank = row
    graph = example_graph()
    asked = query(graph)
    gone = left_out(graph, asked, protocol)
    assert gone == names_of(out)
    gold = SCORES[ENTITIES.index("Whites")]
    kept = {name: score for name, score in zip(ENTITIES, SCORES, strict=True) if name not in gone}
    assert {name for name, score in kept.items() if score > gold} == names_of(before)
    assert {name for name, score in kept.items() if score == gold} - {"Whites"} == names_of(tied)
    assert example_rank(graph, asked, protocol) == float(rank)
    # a hair more or less for the answer turns ties into wins or losses
    for shift, shown in ((0.5, optimistic), (-0.5, pessimistic)):
        shifted = [score + shift * (name == "Whites") for name, score in zip(ENTITIES, SCORES, strict=True)]
        assert example_rank(graph, asked, protocol, shifted) == float(shown)


def test_example_year_by_year() -> None:
    graph = example_graph()
    rows = example("timeplex")
    for year, out, rank in rows:
        asked = query(graph, int(year), int(year))
        assert left_out(graph, asked, "time-aware") == names_of(out)
        assert example_rank(graph, asked, "time-aware") == float(rank)
    mean = float(sum(Fraction(row[2]) for row in rows) / len(rows))
    assert example_rank(graph, query(graph), "timeplex") == mean
    assert f"the mean of the ranks, {mean:g}:" in PROTOCOL_PAGE
    assert example_rank(graph, query(graph), "tkbi") == mean


def test_example_class_by_class() -> None:
    graph, rows = example_graph(), example("expanded")
    timeline = Timeline.build(graph, "width", 2)
    asked, within, _ = expand_by_class(query(graph), timeline)
    by_row = [left_out(graph, Queries(*(column[k : k + 1] for column in vars(within).values())), "expanded")
              for k in range(len(within))]  # fmt: skip
    assert by_row == [names_of(out) for _, out, _ in rows]
    task = RankTask.build(query(graph), KnownAnswers(graph), timeline, "classes", "expanded")
    assert ranks(Fixed(SCORES), task).tolist() == [float(rank) for _, _, rank in rows]
    assert [str(time) for time in asked.start - 1] == [rows[0][0][:4], rows[1][0][-4:]]


def test_example_metrics() -> None:
    (row,) = example("metrics")
    actual = metrics(np.array([3.5, 1.0]))
    assert [round(actual[name], 4) for name in ("mrr", "mr", "hits1", "hits3", "hits10")] == [float(x) for x in row]
    (time_aware,) = (row for row in example("ranks") if row[0] == "time-aware")
    assert time_aware[-1] == "3.5"


def test_one_model_has_many_ranks() -> None:
    every = [float(row[-1]) for row in example("ranks")]
    assert f"ranks from {min(every):g} to {max(every):g}" in PROTOCOL_PAGE


def test_chance_is_the_rank_of_a_model_that_knows_nothing() -> None:
    graph = example_graph()
    for protocol in ("raw", "static", "time-aware", "same-interval"):
        asked = query(graph)
        known = len(left_out(graph, asked, protocol))
        assert example_rank(graph, asked, protocol, [0.0] * len(ENTITIES)) == (len(ENTITIES) - known + 1) / 2


def test_the_wheel_has_every_template() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    templates = {f"reports/{path.name}" for path in (ROOT / "reports").glob("*.typ")}
    assert templates == {source for source in included if source.endswith(".typ")}
