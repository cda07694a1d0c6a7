"""Servers of data sets that send something else, and bombs."""

from __future__ import annotations

import gzip
import http.server
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from tests.badinput.place import Case, Place

SHA = "0" * 64
CHECK = ("data", "check", "fake")
LEFT = ("home/.cache",)


@dataclass(frozen=True)
class Answer:
    """What a server answers with: a body sent ``times``, under these headers."""

    body: bytes | Callable[[], bytes]
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1
    status: int = 200


def zeros(size: int) -> bytes:
    """Zeros that gzip packs a thousandfold."""
    return gzip.compress(b"0" * size, 6)


def twice(size: int) -> bytes:
    """Zeros packed twice, a millionfold."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return gzip.compress(b"".join(packer.compress(b"\0" * 2**20) for _ in range(size >> 20)) + packer.flush(), 9)


#: by what is wrong: the answer, and the reason that is given
ANSWERS = {
    "another file": (Answer(b"other\n"), r"a file is not the published one"),
    "an empty file": (Answer(b""), r"a file is not the published one"),
    "an error page": (Answer(b"<html>no</html>", status=404), r"404"),
    "a server's error": (Answer(b"", status=500), r"500"),
    "a gzip bomb": (Answer(partial(zeros, 129 * 2**20), {"Content-Encoding": "gzip"}), r"larger than 128 MiB"),
    "a gzip bomb for deflate": (Answer(partial(zeros, 2**20), {"Content-Encoding": "deflate"}), r"download failed"),
    "two encodings": (Answer(partial(twice, 129 * 2**20), {"Content-Encoding": "gzip, gzip"}), r"larger than 128 MiB"),
    "broken gzip": (Answer(b"\x1f\x8b\x08" + b"x" * 99, {"Content-Encoding": "gzip"}), r"download failed"),
    "a file without an end": (Answer(b"a\tr\tb\t1990\n" * 100_000, times=1000), r"larger than 128 MiB"),
    "a length that is none": (Answer(b"x", {"Content-Length": "many"}), r"download failed"),
    "a redirection to a file": (Answer(b"", {"Location": "file:///etc/passwd"}, status=302), r"download failed"),
    "a redirection in a circle": (Answer(b"", {"Location": "/train.txt"}, status=302), r"download failed"),
    "control characters in a reason": (Answer(b"", {"X-Reason": "\x1b[2J"}, status=418), r"418"),
    "a path for a file name": (Answer(b"x", {"Content-Disposition": "attachment; filename=../../evil"}), r"published"),
    "a pickle": (Answer(b"cos\nmkdir\n(S'executed'\ntR."), r"a file is not the published one"),
}


@contextmanager
def server(answer: Answer) -> Iterator[str]:
    """A server on this machine that answers everything alike; its address."""

    body = answer.body() if callable(answer.body) else answer.body

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(answer.status, "\x1b[2J" if "X-Reason" in answer.headers else None)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                for _ in range(answer.times):
                    self.wfile.write(body)
            except OSError:
                return

        def log_message(self, *_: object) -> None:
            pass

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_address[1]}"
    finally:
        running.shutdown()
        thread.join()
        running.server_close()


def case(name: str, message: str, address: str) -> Case:
    """The data set ``fake`` of that server."""

    def build(place: Place) -> None:
        sums = dict.fromkeys(("train", "valid", "test"), SHA)
        about = {"folder": "fake-folder", "title": "fake", "url": f"{address}/{{split}}.txt", "sha256": sums}
        place.sources = {"fake": about}

    return Case(
        name, CHECK, rf"data set 'fake': not found .*{message}", build, writes=LEFT, notices=("^downloading fake",)
    )
