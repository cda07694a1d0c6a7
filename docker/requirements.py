"""Print what the package depends on, Dask and PostgreSQL's driver included, one requirement a line."""

import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
extras = project["optional-dependencies"]
print(*project["dependencies"], *extras["cluster"], *extras["postgresql"], sep="\n")
