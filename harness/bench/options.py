"""The commands and their options. Light to import: a command's module, and PyTorch, load when the command runs."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Option

from harness import console as cli
from harness.errors import UserError, nearest

app = cli.application(
    "Measure the engine on this machine.",
    no_args_is_help=False,
    rich_markup_mode="markdown",  # which fills the lines of a paragraph
)


def _backbone(name: str, *others: str) -> str:
    from harness.models import BACKBONES  # loads PyTorch

    if name not in (valid := [*BACKBONES, *others]):
        raise UserError(f"unknown backbone {name!r}: {nearest(name, valid)}")
    return name


def _writable(file: Path | None) -> Path | None:
    """Refuse a file that cannot be written before minutes are spent on its content."""
    if file is not None and not file.parent.is_dir():
        raise UserError(f"--json {file}: no such folder {file.parent}")
    return file


OneBackbone = Annotated[str, Option(help="Name of a backbone.", callback=lambda name: _backbone(name))]
AnyBackbone = Annotated[str, Option(help="ttranse, ta-distmult or all.", callback=lambda name: _backbone(name, "all"))]
Changes = Annotated[list[str] | None, Option("--set", metavar="KEY=VALUE", help="Change a setting.")]
Threads = Annotated[int, Option(min=1, help="Threads of both ways.")]


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of all commands."""

    dataset: Annotated[str, Option(help="Name of a data set, or a folder of one.")] = "lahman"
    data_dir: Annotated[Path | None, Option(help="Look for the files of named data sets here only.")] = None
    file: Annotated[Path | None, Option("--json", help="Write the figures here, too.", callback=_writable)] = None


@dataclass(frozen=True, kw_only=True)
class Timed(Options):
    """The options of commands that measure in turns."""

    threads: Threads = 1
    rounds: Annotated[int, Option(min=1, help="Measurements of each way, in turns; their median counts.")] = 5


@dataclass(frozen=True, kw_only=True)
class Estimator(Options):
    """What sampled candidates do to the cross-entropy, and short lists to the divergence of L1.

    On one batch of training queries, with a student of a few epochs and the structural teacher (built if the cache
    lacks it: minutes). Bias is the mean over draws minus the exact value; the error of the gradient by the entities'
    vectors is its distance to the exact one as a share of that one's length, for single draws and for the mean of all.
    """

    backbone: OneBackbone = "ttranse"
    epochs: Annotated[int, Option(min=1, help="Epochs that the student is trained before.")] = 3
    draws: Annotated[int, Option(min=2, help="Draws of random candidates that figures are means over.")] = 50
    changes: Changes = None


@dataclass(frozen=True, kw_only=True)
class Llm(Timed):
    """What encoding and fine-tuning the language model cost, and what batches, layers and number format change of it.

    Encoding: batches of similar lengths, against batches in the data's order with as many tokens, padding included.

    Fine-tuning: the frozen layers once and a step of the adapted ones over their output, as the stage does it; against
    a step that runs all layers, of which the same are adapted, and against one in which all are.

    Number format of what is frozen: forward (a causal model's includes the gradient of its output layer) and backward
    pass of the adapted layers. Memory: the peak of a separate process after each stage, with all data.
    """

    model: Annotated[str, Option(help="smollm2, minilm, a folder, a .gguf file or a hub id.")] = "smollm2"
    texts: Annotated[int, Option(min=1, help="Texts of entities encoded, a measurement, about.")] = 400
    tokens: Annotated[int, Option(min=1, help="Tokens of facts fine-tuned on, a measurement.")] = 500
    memory: Annotated[bool, Option("--memory", help="Memory of both stages, too, which takes minutes.")] = False
    changes: Changes = None
    rounds: Annotated[int, Option(min=1, help="Measurements of each way, in turns; their median counts.")] = 3


@dataclass(frozen=True, kw_only=True)
class Rank(Timed):
    """Exact filtered ranking of test queries, beside PyKEEN's RankBasedEvaluator if PyKEEN is installed.

    PyKEEN knows no time: both sides leave out all other known answers whatever their time (protocol "static"). It
    ranks with its TransE (for ttranse) or DistMult (for ta-distmult) of the same dimension, and with the scores of our
    model. It makes its filter in each evaluation, which we do once for all epochs; a column gives ours with the filter
    made each time. Of three batch sizes its fastest counts. Models are untrained: ranks cost the same.
    """

    backbone: AnyBackbone = "all"
    facts: Annotated[int, Option(min=1, help="Facts of the test split; each is two queries.")] = 1000
    dim: Annotated[int, Option(min=1, help="Dimension of the models.")] = 25


@dataclass(frozen=True, kw_only=True)
class Scale(Timed):
    """What a student's training step and ranking a query cost, against facts, entities, dimension and candidates.

    facts: the first ones of the training split, or copies of it about other entities. entities: more, which no fact
    names. candidates: stored ones a query, with the loss L1; elsewhere there is no distillation, and a student lists
    what it finds hard itself. A step scores listed and random entities, as trials do; beside it one that scores all, as
    in their first epoch. Sizes of an axis are measured in turns; memory is the peak of the process with a size alone.
    An exponent is the slope of log cost against log size.
    """

    backbone: OneBackbone = "ttranse"
    axis: Annotated[str, Option(help="facts, entities, dimension, candidates or all.")] = "all"
    queries: Annotated[int, Option(min=2, help="Training queries ranked, a measurement.")] = 512


@dataclass(frozen=True, kw_only=True)
class Simulate(Options):
    """How coordinator, store, report and dashboard grow with the number of trials.

    Trials of study grid, with as many complete seeds as it takes, whose workers sleep (lognormal) and return made-up
    metrics, a curve, and a rank for each test query of the data set. All else is real: coordinator, display, store,
    artifacts, report, optuna-dashboard. Each step runs in a new process, whose peak memory is shown; imports do not
    count, nor does reading the data. With so many workers it is the coordinator that limits trials a second.
    """

    trials: Annotated[list[int] | None, Option(min=2, help="How many; may be given again. [100, 1000]")] = None
    jobs: Annotated[int, Option(min=1, help="Simulated workers.")] = 64
    seconds: Annotated[float, Option(min=0.0, help="Median of what a trial takes.")] = 0.05
    missing: Annotated[int, Option(min=1, help="Trials that are missing when a study is resumed.")] = 100
    storage: Annotated[str | None, Option(help="An empty store; default: a new SQLite file a size.")] = None
    picture: Annotated[Path | None, Option("--figure", help="Draw the figures here: .pdf and .png.")] = None


@dataclass(frozen=True, kw_only=True)
class Stack(Timed):
    """Training 1, 2, 4 ... students side by side, against one after another.

    Trials an hour are extrapolated from steps over sampled candidates; exact epochs, validations and the search for
    hard candidates, which go student by student either way, do not count. Targets and encodings are random: a step
    costs the same whatever they are. On a CPU, where students alone have compiled passes and stacks have none, studies
    make no stacks but run a process a core.
    """

    backbone: OneBackbone = "ttranse"
    arm: Annotated[str, Option(help="none, L1 or L1+L2+L3.")] = "L1+L2+L3"
    students: Annotated[int | None, Option(min=1, help="At most so many; default: 64 on a GPU, else 4.")] = None
    steps: Annotated[int, Option(min=1, help="Training steps an epoch; two epochs count.")] = 20
    device: Annotated[str, Option(help="cpu, cuda, or auto: a GPU when there is one.")] = "auto"
    rounds: Annotated[int, Option(min=1, help="Measurements of each way, in turns; their median counts.")] = 3


@dataclass(frozen=True, kw_only=True)
class Step(Timed):
    """A student's training step on a CPU: tensor operations against compiled passes.

    Scored are all entities, as in a student's first epoch, or those that the teacher lists and random ones, as in the
    others. Targets and encodings are random, which costs the same or more. A turn makes some steps of one way, so
    that it finds its data in the processor's cache, as in training. The parts of the compiled step are separate medians
    and need not add up. With one thread, seconds are the processor's.
    """

    backbone: OneBackbone = "ttranse"
    steps: Annotated[int, Option(min=1, help="Steps of a turn; its first one does not count.")] = 20


@dataclass(frozen=True, kw_only=True)
class Student(Options):
    """Training a student: as trials do, against the exact way with online teachers.

    The exact way: in each step the structural teacher, the scorer of the LLM teacher and the student score all
    entities, in plain tensor operations. Both ways have the settings of study ablation, and equal initial values,
    batches and learning rates.

    Seconds are those of both stages with their validations, with teachers and targets cached; compiling, a few seconds
    a process, does not count. Without --full, those of the exact way are extrapolated from steps of each stage, which
    are measured in turns with steps of the fast way, and it has no MRR. Where other work keeps the machine busy, the
    ratio of these steps is the one to trust. Teachers that are missing are built first.
    """

    backbone: AnyBackbone = "ttranse"
    arm: Annotated[str, Option(help="Arm of a student, such as L1, or several with commas.")] = "L1+L2+L3"
    seeds: Annotated[int, Option(min=1, help="Number of seeds.")] = 1
    full: Annotated[bool, Option("--full", help="Train the exact way to its end, too.")] = False
    steps: Annotated[int, Option(min=1, help="Steps of each stage to measure, of each way.")] = 30
    threads: Threads = 2
    changes: Changes = None


@dataclass(frozen=True, kw_only=True)
class Train(Timed):
    """Queries a second of an undistilled student's training loop, beside PyKEEN's if PyKEEN is installed.

    Same facts in both directions, dimension, batch size and kind of optimiser (fused); softmax cross-entropy. PyKEEN's
    TransE (for ttranse) and DistMult (for ta-distmult) train with LCWA, which scores all entities, and with sLCWA,
    which scores as many negatives as the column says; of three sizes of sub-batches the fastest counts. Loading
    batches and updating weights are included, validation is not.
    """

    backbone: AnyBackbone = "all"
    seconds: Annotated[float, Option(min=0, help="Seconds of each measurement, and at least a step.")] = 2.0


@dataclass(frozen=True, kw_only=True)
class Trial(Timed):
    """Where the time of a trial goes: epochs over all entities, sampled epochs, validations, the test.

    Seconds of the processor, which other work lengthens less than those on the clock: of the first trial in a process,
    which compiles, and of later ones. Settings are those of study ablation. Teachers that are missing are built first.
    """

    backbone: OneBackbone = "ttranse"
    arm: Annotated[str, Option(help="Arm of a student.")] = "L1+L2+L3"
    rounds: Annotated[int, Option(min=1, help="Later trials; the median of each part counts.")] = 1
    changes: Changes = None


def _run(options: Options) -> None:
    importlib.import_module("harness.bench.common").run(options)


for command in (Estimator, Llm, Rank, Scale, Simulate, Stack, Step, Student, Train, Trial):
    cli.command(app, command.__name__.lower(), command, command.__doc__)(_run)
