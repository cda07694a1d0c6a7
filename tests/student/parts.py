"""A student's file in parts, so that tests can change them."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from safetensors.numpy import load, save


def parts_of(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arrays of a file and what it states of itself."""
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    return dict(load(content)), json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["about"])


def written(path: Path, arrays: dict[str, Any], about: object) -> Path:
    path.write_bytes(save(arrays, {"about": about if isinstance(about, str) else json.dumps(about)}))
    return path
