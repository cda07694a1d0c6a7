"""Write the golden numbers of this kind of machine: ``python -m tests.golden.update [PART ...]``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch

from harness.trial.stages import Context
from tests.encoder import write_encoder
from tests.golden import golden_file
from tests.golden.ablation import DATASETS, numbers_of_ablation
from tests.golden.cases import (
    machine,
    numbers_of_cases,
    numbers_of_measurements,
    numbers_of_stacks,
    write_graph,
)

PARTS = ("cases", "stacks", "measurements", *(f"ablation on {name}" for name in DATASETS))


def main(parts: list[str]) -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        graph, encoder, context = (
            write_graph(folder / "graph"),
            write_encoder(folder / "encoder"),
            Context(folder / "c"),
        )
        for part in parts or PARTS:
            if part == "cases":
                numbers = numbers_of_cases(graph, encoder, context)
            elif part == "stacks":
                numbers = numbers_of_stacks(graph, encoder, context)
            elif part == "measurements":
                numbers = numbers_of_measurements(graph, encoder, context, setattr)
            else:
                numbers = numbers_of_ablation(part.removeprefix("ablation on "), folder / "ablation")
            golden_file.write(part, machine(), numbers)
            print(f"{part}: {len(numbers)} cases")


if __name__ == "__main__":
    main(sys.argv[1:])
