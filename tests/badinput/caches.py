"""Files that a cache may hold in the place of a stored result."""

from __future__ import annotations

import io
import json
import struct
import zipfile


def safetensors(header: object, data: bytes = b"\0" * 4) -> bytes:
    """A file of safetensors with this header, JSON or bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def checkpoint() -> bytes:
    """A zip as ``torch.save`` writes it, with a pickle that makes a folder."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", b"cos\nmkdir\n(S'executed'\ntR.")
        archive.writestr("archive/version", "3\n")
    return buffer.getvalue()


X = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
META = {"__metadata__": {"meta": "{}"}}
#: contents with a checksum that fits: whoever can write one can write the other
CONTENTS = {
    "nothing": b"",
    "text": b"mine",
    "a pickle": b"cos\nmkdir\n(S'executed'\ntR.",
    "a checkpoint of PyTorch": checkpoint(),
    "NUL bytes": b"\0" * 100,
    "a header of 2^63 bytes": struct.pack("<Q", 2**63) + b"{}",
    "a header of 2^40 bytes": struct.pack("<Q", 2**40) + b"{}",
    "a header that is cut off": struct.pack("<Q", 1000) + b"{",
    "a header that is no JSON": safetensors(b"not JSON"),
    "a header that is a list": safetensors([]),
    "a header that is no UTF-8": safetensors(b'{"\xff": 1}'),
    "no metadata": safetensors({"x": X}),
    "no meta": safetensors({"__metadata__": {}, "x": X}),
    "meta that is no JSON": safetensors({"__metadata__": {"meta": "{"}, "x": X}),
    "meta of depth": safetensors({"__metadata__": {"meta": "[" * 100_000}, "x": X}),
    "a header of depth": safetensors(b"[" * 100_000),
    "metadata of numbers": safetensors({"__metadata__": {"meta": 3}, "x": X}),
    "a tensor beyond the file": safetensors(META | {"x": X | {"shape": [10], "data_offsets": [0, 40]}}),
    "a tensor of 2^60 numbers": safetensors(META | {"x": X | {"shape": [2**60], "data_offsets": [0, 2**62]}}),
    "a shape that overflows": safetensors(META | {"x": X | {"shape": [2**40, 2**40]}}),
    "a shape that does not fit": safetensors(META | {"x": X | {"shape": [7]}}),
    "a negative shape": safetensors(META | {"x": X | {"shape": [-1]}}),
    "offsets from high to low": safetensors(META | {"x": X | {"data_offsets": [4, 0]}}),
    "tensors over each other": safetensors(META | {"x": X, "y": X}),
    "a number format that is none": safetensors(META | {"x": X | {"dtype": "F7"}}),
    "a tensor without a shape": safetensors(META | {"x": {"dtype": "F32", "data_offsets": [0, 4]}}),
    "bytes that belong to nothing": safetensors(META | {"x": X}, b"\0" * 400),
}
#: checksums that are none, beside a good file
CHECKSUMS = {"nothing": b"", "text": b"mine", "bytes": b"\xff\xfe", "another": b"0" * 64, "two lines": b"0\n0\n"}
