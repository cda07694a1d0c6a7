"""The commands of compose.yaml on a real PostgreSQL, with this environment's programs and in the image."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.containers.image import Image, built, missing
from tests.containers.services import DOCKER, ROOT, Services, argv
from tests.postgresql import Server

#: so small that a study takes seconds, and with the language model that the image carries
SMALL = (
    *("student.epochs=2", "student.stage1_epochs=1", "teacher.epochs=1", "teacher.dim=8"),
    *("llm.finetune=none", "semantic.epochs=1", "targets=16", "components=8"),
)
ARMS = ["none", "L1", "L1+L3"]


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    if reason := missing():
        pytest.skip(f"no image can be built here: {reason}")
    with built() as image:
        yield image


@pytest.fixture(params=["here", "image"])
def services(request: pytest.FixtureRequest, postgresql: Server, tmp_path: Path) -> Services:
    """The services with a database and volumes of their own, and a data set too small to learn anything."""
    rng = np.random.default_rng(0)
    for name in ("data/tiny", "runs", "reports", "cache"):
        (tmp_path / name).mkdir(parents=True)
    for split, size in (("train", 120), ("valid", 20), ("test", 20)):
        years = rng.integers(1990, 2010, size)
        lines = [f"p{rng.integers(15)}\tplays for\tt{rng.integers(6)}\t{year}\t{year + 3}\n" for year in years]
        (tmp_path / "data" / "tiny" / f"{split}.txt").write_text("".join(lines))
    database = f"harness_{request.param}"
    postgresql.database(database)
    places = {"@postgres:5432/harness": f"@127.0.0.1:{postgresql.port}/{database}"}
    if request.param == "here":
        program = Path(sys.executable).parent
        places |= {place: f"{tmp_path}{place.removeprefix('/workspace')}" for place in ("/workspace/runs", "/tmp/dask")}
        places["--dataset=lahman"] = f"--dataset={tmp_path / 'data' / 'tiny'}"
        return Services(
            lambda words: ["env", f"PYTHONPATH={ROOT}", str(program / words[0]), *words[1:]], tmp_path, places
        )
    places["--dataset=lahman"] = "--dataset=/data/tiny"
    container: Image = request.getfixturevalue("image")
    volumes = {"/workspace/runs": "runs", "/workspace/reports/output": "reports", "/home/harness/.cache": "cache"}
    for name in volumes.values():
        os.chown(tmp_path / name, 10001, 10001)  # a new volume of Docker takes over the owner of the folder under it
    volumes["/data"] = "data"
    mounts = {tmp_path / name: target for target, name in volumes.items()}
    return Services(lambda words: container.command(*words, volumes=mounts), tmp_path, places)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_services_together(services: Services) -> None:
    services.output(argv("schema"))
    small = [f"--set={part}" for part in SMALL]
    study = [*argv("study"), f"--arms={','.join(ARMS)}", *small]
    with services.running("scheduler"), services.running("workers"):
        report = Path(services.output(study).splitlines()[-1])
        pdf = next((services.folder / "reports").rglob(report.name))
        assert pdf.read_bytes().startswith(b"%PDF")

        # started again, it finds nothing left to do
        assert f"all {len(ARMS)} trials were complete already" in services.output(study)

    with services.running("dashboard"):
        (listed,) = (
            one
            for one in services.json("api/studies")["study_summaries"]
            if not one["study_name"].endswith("-teachers")
        )
        assert listed["study_name"].startswith("ablation-tiny-quick-")
        shown = services.json(f"api/studies/{listed['study_id']}")["trials"]
        assert [one["state"] for one in shown] == ["Complete"] * len(ARMS)
        assert all(0 < one["values"][0] <= 1 for one in shown)
        arms = {one["param_external_value"] for trial in shown for one in trial["params"] if one["name"] == "arm"}
        assert arms == set(ARMS)
        assert b"<html" in services.page("dashboard").lower()
        files = {one["artifact_id"] for trial in shown for one in trial["artifacts"]}
        assert files < {path.name for path in (services.folder / "runs" / "artifacts").iterdir()}


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_image_is_small_and_holds_what_it_should(image: Image) -> None:
    """CPU-only PyTorch; nobody's rights; nothing that building left behind."""
    size = image.size()
    print(f"{size / 1e9:.3f} GB, built in {image.seconds:.0f} s")
    assert size < 2e9
    services = Services(lambda words: image.command(*words), Path.cwd(), {})
    facts = (
        "import json, os, torch, importlib.metadata as m;"
        "print(json.dumps([os.getuid(), os.getcwd(), torch.version.cuda, sorted(d.name for d in m.distributions())]))"
    )
    user, folder, cuda, packages = json.loads(services.output(["python", "-c", facts]))
    assert [user, folder, cuda] == [10001, "/workspace", None]
    assert {"tkg-distill-harness", "psycopg", "distributed", "optuna-dashboard"} <= set(packages)
    assert not [name for name in packages if name.startswith(("nvidia", "triton"))]
    default = json.loads(re.findall(r"^ENTRYPOINT (.*)$", (DOCKER / "Dockerfile").read_text("utf-8"), re.M)[0])
    assert "ablation" in services.output([*default, "list"])
    assert services.run(["test", "-e", "/src"]).returncode == 1
    assert services.run(["test", "-e", "/etc/pip.conf"]).returncode == 1
