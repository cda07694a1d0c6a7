"""``python -m harness.bench``."""

from harness import console as cli
from harness.bench import app

if __name__ == "__main__":
    cli.run(app, "python -m harness.bench")
