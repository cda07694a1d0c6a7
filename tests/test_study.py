"""Studies from the command line's side: end to end on a small data set, resumed, and with users' mistakes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pandas as pd
import pytest
from pypdf import PdfReader

from harness.design.cells import Run
from harness.design.settings import AXES
from harness.errors import UserError
from harness.trial.keys import Plan
from harness.trial.options import option_names
from harness.trial.spec import TrialSpec
from tests.inside import Here
from tests.place import Place, numbers

#: a plugin that runs in each worker, too
NOTED = """
import os
from pathlib import Path

Path(f"loaded-{os.getpid()}").touch()
"""


@pytest.fixture
def place(tmp_path: Path, tiny_encoder: Path) -> Place:
    return Place(tmp_path, tiny_encoder)


@pytest.fixture
def here(tmp_path: Path, tiny_encoder: Path) -> Here:
    return Here(tmp_path, tiny_encoder)


@pytest.mark.usefixtures("no_report", "blank_figures")  # but of the first study, which is a process
@pytest.mark.long
def test_from_facts_to_pdf_then_resumed_and_extended(place: Place, here: Here) -> None:
    (place.folder / "noted.py").write_text(NOTED, encoding="utf-8")
    first = place("ablation", "--preset", "quick", *place.options, "--plugin", "noted.py")
    assert first.returncode == 0, first.stderr
    assert len(list(place.folder.glob("loaded-*"))) == 3  # coordinator and two workers
    assert first.stderr == ""
    *_, verdict, dashboard, following, path = first.stdout.splitlines()
    assert re.fullmatch(r"verdict: C2 [\w ]+ on TTransE; C6 [\w ]+ on TTransE; C21 [\w ]+ on TTransE", verdict)
    assert dashboard == "dashboard: optuna-dashboard sqlite:///runs/harness.db --artifact-dir runs/artifacts"
    assert following.startswith("next: study ablation again with --seeds 3")
    pdf = place.folder / path
    assert pdf == place.folder / "reports/output/ablation-toy@f31aa698/ablation.pdf"
    text = "".join(page.extract_text() for page in PdfReader(pdf).pages)
    assert "L1 + L2 + L3" in text
    for suffix in ("csv", "parquet", "tex"):
        assert pdf.with_name(f"ablation_table.{suffix}").is_file()
    trials = place.trials()
    assert trials["state"].tolist() == ["complete"] * 7
    assert trials["cell"].is_unique

    # in other processes than the first time, and by another path and name
    (place.folder / "again").symlink_to("moved", target_is_directory=True)
    shutil.copytree(place.folder / "toy", place.folder / "moved")
    again = here("ablation", "--preset", "quick", *place.options, "--dataset", "again")
    assert "all 7 trials were complete already" in again.stdout
    assert len(place.trials()) == 7

    # by another number of workers: that is nothing a result depends on
    wider = here("ablation", "--preset", "quick", "--seeds", "2", *place.options, "--jobs", "1")
    assert wider.returncode == 0, wider.stderr
    assert "teacher" not in [line.split()[1] for line in wider.stdout.splitlines() if line.startswith("done")]
    assert len(place.trials()) == 12
    assert place.trials().groupby("arm")["seed"].agg(set)["L1"] == {0, 1}

    report = here("ablation", "--dataset", "./toy", module="harness.report")
    assert report.returncode == 0, report.stderr
    assert (place.folder / report.stdout.splitlines()[-1]).is_file()


@pytest.mark.usefixtures("blank_figures")
def test_as_many_seeds_as_it_takes(here: Here) -> None:
    changes = ("student.epochs=1", "teacher.seeds=student", "teacher.epochs=1", "teacher.dim=20")
    command = ["ablation", "--preset", "quick", "--arms", "none,L1", *here.options]
    command += [part for change in changes for part in ("--set", change)]
    run = here(*command, "--decide")
    assert run.returncode == 0, run.stderr
    looks = re.findall(r"look (\d) of 5, (\d+) seeds: (\d) of 1 comparisons decided(?:, 1 (futile|open))?", run.stdout)
    assert looks[0][:2] == ("1", "3")
    assert [state for *_, state in looks[:-1]] == ["open"] * (len(looks) - 1)
    seeds = here.trials().groupby("arm")["seed"].nunique()
    last = int(looks[-1][1]) if looks[-1][3] != "open" else 20
    assert seeds["L1"] == seeds["none"] == last
    # a look trains the teachers of its new seeds
    assert "teachers: 3 to train, one a seed" in run.stdout
    assert run.stdout.count("done structural teacher") == last

    # the report knows how the study was decided; a study that is decided adds nothing
    csv = next(here.folder.glob("reports/output/*/ablation_paired.csv"))
    assert pd.read_csv(csv)["chance"].notna().all()
    again = here(*command, "--decide")
    assert "complete already" in again.stdout
    assert len(here.trials()) == 2 * last
    assert re.findall(r"look .*", again.stdout) == re.findall(r"look .*", run.stdout)


def test_deciding_takes_no_number_of_seeds_and_needs_a_comparison(here: Here) -> None:
    for wrong, line in ((["ablation", "--seeds", "4"], "--seeds: with --decide"), (["grid"], "--decide: study 'grid'")):
        run = here(*wrong, "--decide", *here.options)
        assert run.returncode == 2
        assert line in run.stderr


STUDY = """\
name: mine
title: A study of my own
about: Nothing of it is in the package.
arms: [none, L1]
compare: {none: [L1]}
backbone: ttranse
presets: {default: {about: small, seeds: 1}}
"""
LOSS = Path(__file__).parent.parent / "docs" / "examples" / "loss_dkd.py"


@pytest.mark.usefixtures("blank_figures")
def test_a_study_file_of_ones_own_with_a_plugin(here: Here) -> None:
    file = here.folder / "mine.yaml"
    file.write_text(STUDY, encoding="utf-8")
    described = here("describe", "mine.yaml")
    assert "A study of my own" in described.stdout
    # an arm that the file does not have, too
    first = here("run", "mine.yaml", *here.options, "--arms", "none,L1,MyDKD", "--plugin", str(LOSS))
    assert first.returncode == 0, first.stderr
    pdf = here.folder / first.stdout.splitlines()[-1]
    assert pdf == here.folder / "reports/output/mine-toy@f31aa698/mine.pdf"
    before = "".join(page.extract_text() for page in PdfReader(pdf).pages)
    for text in ("A study of my own", "Nothing of it is in the package", "my DKD"):
        assert text in before

    file.unlink()
    again = here("run", "mine", "--dataset", "./toy", "--output", "again", module="harness.report")
    assert again.returncode == 0, again.stderr
    assert "".join(page.extract_text() for page in PdfReader(here.folder / "again/mine.pdf").pages) == before


@pytest.mark.slow
@pytest.mark.parametrize("after", ["teacher", "stage1", "trial"])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_study_goes_on_and_ends_with_the_same_numbers(
    tmp_path: Path, tiny_encoder: Path, after: str, how: signal.Signals
) -> None:
    words = {"teacher": "done structural teacher", "stage1": "done student, stage 1", "trial": "done trial"}
    undisturbed, broken = (Place(tmp_path / name, tiny_encoder) for name in ("whole", "broken"))
    assert undisturbed("ablation", "--preset", "quick", *undisturbed.options).returncode == 0
    process = broken.start("ablation", "--preset", "quick", *broken.options)
    assert process.stdout is not None
    for line in process.stdout:
        if words[after] in line:
            os.kill(process.pid, how)
            break
    process.communicate(timeout=60)
    assert process.returncode == (130 if how == signal.SIGINT else -signal.SIGKILL)
    deadline = time.monotonic() + 20  # workers end with their coordinator
    while _workers(process.pid) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not _workers(process.pid)

    done = broken("ablation", "--preset", "quick", *broken.options)
    assert done.returncode == 0, done.stderr
    trials = broken.trials()
    assert not trials[trials["state"] == "complete"]["cell"].duplicated().any()
    assert not (trials["state"] == "running").any()
    pd.testing.assert_frame_equal(numbers(trials), numbers(undisturbed.trials()))


def _workers(session: int) -> list[int]:
    processes = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            processes.append(int(path.parent.name))
    return processes


@pytest.mark.usefixtures("blank_figures")
def test_diverging_arm_fails_alone(tmp_path: Path, tiny_encoder: Path) -> None:
    place = Here(tmp_path, tiny_encoder, **{"teacher.learning_rate": 1e30})
    done = place("ablation", "--preset", "quick", *place.options, "--arms", "none,L1")
    assert done.returncode == 0, done.stderr
    trials = place.trials().set_index("arm")
    assert trials.loc["none", "state"] == "complete"
    assert trials.loc["L1", "state"] == "failed"
    assert re.search("shared stage teacher: .*(the loss became|not finite)", trials.loc["L1", "reason"])
    pdf = "".join(p.extract_text() for p in PdfReader(place.folder / done.stdout.splitlines()[-1]).pages)
    assert "failed" in pdf


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ablatoin"], "ablation"),
        (["ablation", "--dataset", "wikki"], "did you mean 'wiki'"),
        (["ablation", "--dataset", "./nowhere"], "no such folder"),
        (["ablation", "--backbone", "transe"], "did you mean 'ttranse'"),
        (["ablation", "--teacher-backbone", "ta-distmul"], "did you mean 'ta-distmult'"),
        (["ablation", "--preset", "quik"], "did you mean 'quick'"),
        (["ablation", "--arms", "L1,L1+L5"], "there is no loss 'L5'"),
        (["run", "ablation"], "takes a study file as my.yaml"),
        (["run", "mine.yaml"], "study file mine.yaml: cannot be read"),
        (["ablation", "--set", "alfa=1"], "did you mean 'loss.alpha'"),
        (["ablation", "--set", "alpha=-1"], "greater than or equal to 0"),
        (["ablation", "--seeds", "0"], "--seeds"),
        (["ablation", "--jobs", "none"], "--jobs"),
        (["ablation", "--stack", "0"], "--stack"),
        (["ablation", "--storage", "nonsense", "--dataset", "./toy"], "is not a URL"),
        (["ablation", "--output", "/proc/nowhere", "--dataset", "./toy"], "cannot write the report"),
        (["ablation", "--device", "gpu"], "did you mean 'cuda'"),
        (["ablation", "--set", "lr=1"], "did you mean 'student.learning_rate'"),
        (["ablation", "--config", "none.yaml"], "config none.yaml: cannot be read"),
        (["describe", "ablatoin"], "did you mean 'ablation'"),
        (["ablation", "--frobnicate"], "--frobnicate"),
    ],
)
def test_mistakes_end_with_one_line_and_code_2(here: Here, arguments: list[str], message: str) -> None:
    check_mistake(here, here(*arguments), message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ablatoin"], "ablation"),  # no command, and one found with all imported that a run needs
        (["ablation", "--storage", "nonsense", "--dataset", "./toy"], "is not a URL"),
    ],
)
def test_mistakes_in_a_process_of_its_own(place: Place, arguments: list[str], message: str) -> None:
    check_mistake(place, place(*arguments), message)


def test_the_teacher_may_have_another_backbone(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    planned: list[Run] = []

    def execute(run: Run, *_: object, **__: object) -> None:
        planned.append(run)
        raise UserError("seen enough")

    monkeypatch.setattr("harness.running.run.execute", execute)
    done = here("ablation", "--dataset", "./toy", "--teacher-backbone", "ta-distmult", "--seeds", "1")
    assert "seen enough" in done.stderr
    taught = [spec for spec in planned[0].specs if spec.arm not in ("none", "llm-teacher")]
    assert {(spec.backbone, spec.teacher_backbone) for spec in taught} == {("ttranse", "ta-distmult")}


def test_the_plan_is_made_once(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    of = Plan.of

    def counted(spec: TrialSpec, data_digest: str, device: str) -> Plan:
        made.append(spec.key())
        return of(spec, data_digest, device)

    def started(*_: object) -> None:
        raise UserError("seen enough")

    monkeypatch.setattr(Plan, "of", counted)
    monkeypatch.setattr("harness.engine.scheduler.run", started)
    done = here("ablation", "--preset", "quick", *here.options)
    assert "seen enough" in done.stderr
    assert len(set(made)) == len(made) == 7


@pytest.mark.parametrize(("options", "limit"), [([], 1), (["--stack", "3"], 3)])
def test_stacks_on_a_cpu_are_made_if_asked_for(
    here: Here, monkeypatch: pytest.MonkeyPatch, options: list[str], limit: int
) -> None:
    used: list[int] = []

    def started(_: object, __: object, ___: object, stack: int) -> None:
        used.append(stack)
        raise UserError("seen enough")

    monkeypatch.setattr("harness.engine.scheduler.run", started)
    done = here("ablation", "--preset", "quick", *here.options, "--device", "cpu", *options)
    assert "seen enough" in done.stderr
    assert used == [limit]


def check_mistake(place: Place, done: subprocess.CompletedProcess[str], message: str) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr
    assert [path.name for path in place.folder.iterdir()] == ["toy"]  # nothing is left behind


def test_a_cluster_has_as_many_jobs_as_it_has(here: Here) -> None:
    check_mistake(here, here("ablation", *here.options, "--cluster", "tcp://127.0.0.1:1"), "--jobs: with --cluster")


def test_a_store_that_is_not_there_is_not_copied(here: Here) -> None:
    done = here("copy", "sqlite:///none.db", "sqlite:///runs/harness.db")
    check_mistake(here, done, "storage sqlite:///none.db: there is no such file")


def test_odd_data_are_warned_of_refused_or_accepted(here: Here) -> None:
    facts = {"train": "0\t0\t1\t1990\t-1\n1\t0\t2\t1991\t-1\n", "valid": "2\t0\t0\t1990\t-1\n"}
    facts["test"] = "1\t0\t0\t1990\t-1\n"
    (here.folder / "odd").mkdir()
    for split, lines in facts.items():
        (here.folder / "odd" / f"{split}.txt").write_text(lines, encoding="utf-8")
    study = ("ablation", *here.options, "--dataset", "odd", "--preset", "quick", "--output", "/proc/nowhere")
    for options, message in (
        ((), r"error: .* the fifth column is -1 in all facts .* --accept constant-end\n"),
        (("--accept", "constant-end"), r"error: .* mere numbers, .* arms without L2 and L3; .* --accept no-names\n"),
        (("--accept", "constant-end", "--accept", "no-names"), r"error: .*cannot write the report.*\n"),
        (("--accept", "constant-end", "--arms", "none,L1"), r"error: .*cannot write the report.*\n"),
    ):
        done = here(*study, *options)
        assert (done.returncode, bool(re.fullmatch(message, done.stderr))) == (2, True), done.stderr
    assert "warning inverse: " in done.stdout


def test_missing_weights(here: Here) -> None:
    done = here("ablation", "--preset", "quick", *here.options, "--set", "llm.model=./no-weights")
    assert done.returncode == 2
    assert re.match(r"error: language model './no-weights'", done.stderr)
    assert [path.name for path in here.folder.iterdir()] == ["toy"]


def url(place: Place) -> str:
    return f"sqlite:///{place.folder}/runs/harness.db"


def load(place: Place, name: str) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name=name, storage=url(place)).trials


def test_list_and_describe(here: Here) -> None:
    listed = here("list")
    assert listed.returncode == 0
    assert "ablation" in listed.stdout
    described = here("describe", "sweep").stdout
    assert "C8: T = 7 is a good temperature" in described
    assert "loss.temperature: 1 to 20, logarithmic" in described
    rows = [line.split() for line in described.splitlines()]
    assert ["loss.alpha", "varied"] in [row[:2] for row in rows]
    assert not re.search(r"\bNone\b|Distribution|True|False", described)
    assert "loss.DKD.target" not in described
    assert "loss.DKD.target" in here("describe", "losses").stdout
    everything = here("describe", "sweep", "--all").stdout
    assert all(name in everything for name in option_names(TrialSpec) if name not in AXES)


@pytest.mark.parametrize(
    ("arguments", "imported"),
    [
        (["list"], []),
        (["study", "--help"], []),
        (["ablation", "--help"], []),
        (["ablation", "--frobnicate"], []),
        (["describe", "ablation"], ["matplotlib", "numpy", "pandas", "scipy", "torch"]),  # the probe sees that
    ],
)
def test_lists_and_help_import_no_engine(arguments: list[str], imported: list[str]) -> None:
    probe = (
        "import atexit, sys\n"
        "heavy = {'torch', 'optuna', 'pandas', 'numpy', 'matplotlib', 'scipy'}\n"
        "atexit.register(lambda: print('imported:', *sorted(heavy & sys.modules.keys())))\n"
        "from harness import study\n"
        "from harness import __main__ as tools\n"
        "(tools if sys.argv[1] == 'study' else study).main()\n"
    )
    command = [sys.executable, "-c", probe, *arguments]
    done = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True, timeout=120)
    assert done.returncode == (2 if "--frobnicate" in arguments else 0), done.stderr
    assert done.stdout.splitlines()[-1].split() == ["imported:", *imported]


def test_a_study_file_of_a_grid_decides_nothing(here: Here) -> None:
    text = f"{STUDY}decide: [3, 5]\nreport: sensitivity\ngrid: {{loss.alpha: [0.5, 1.0]}}\n"
    text = text.replace("[none, L1]", "[L1, L1+L2]").replace("none: [L1]", "L1: [L1+L2]")
    (here.folder / "mine.yaml").write_text(text, "utf-8")
    run = here("run", "mine.yaml", *here.options)
    assert run.returncode == 2
    assert "no comparison of arms alone" in run.stderr
