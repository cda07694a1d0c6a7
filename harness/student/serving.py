"""A student over HTTP with JSON: ``GET /predict``, ``GET /info``, ``GET /health``, and ``/openapi.json``.

FastAPI and uvicorn (the extra ``serve``) do the work. Requests are bounded in number, length and rate.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse

from harness.errors import UserError
from harness.student.student import Known, Student

#: characters of a name or a time, and of all of a request's address
LONGEST_NAME, LONGEST_URL = 400, 4000
Name = Annotated[str, Query(min_length=1, max_length=LONGEST_NAME)]


class Limit:
    """At most ``rate`` requests a second on average, and a second's worth (or one) at once; ``clock`` in seconds."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.most, self.clock = rate, max(rate, 1.0), clock
        self._left, self._last = self.most, clock()
        self._lock = threading.Lock()

    def takes(self) -> bool:
        """Whether one more request may be answered now."""
        with self._lock:
            now = self.clock()
            self._left, self._last = min(self.most, self._left + self.rate * (now - self._last)), now
            if self._left < 1:
                return False
            self._left -= 1
            return True


def application(student: Student, rate: float = 100.0) -> FastAPI:
    """The web application of a student.

    Args:
        student: who answers.
        rate: requests a second; more get status 429.
    """
    app = FastAPI(
        title="A distilled student",
        description="Which entity completes (subject, relation, ?, time)?",
        version=str(student.about.version),
        docs_url=None,  # the page would load its scripts from elsewhere
        redoc_url=None,
    )
    student.entities.hints = student.relations.hints = False  # a hundred typing errors a second must not stop it
    limit = Limit(rate)

    @app.middleware("http")
    async def bounded(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        asked = request.scope  # as it came: with a malformed host there is no URL
        if len(asked["raw_path"]) + len(asked["query_string"]) > LONGEST_URL:
            return JSONResponse({"detail": f"the address is longer than {LONGEST_URL} characters"}, 414)
        if asked["path"] != "/health" and not limit.takes():
            return JSONResponse({"detail": f"more than {rate:g} requests a second; ask again later"}, 429)
        return await answer(request)

    @app.get("/health")
    def health() -> dict[str, str]:
        """Whether the student answers."""
        return {"status": "ok"}

    @app.get("/info")
    def info() -> dict[str, Any]:
        """What the student is."""
        about = student.about
        return {
            "backbone": about.backbone,
            "dim": about.dim,
            "bits": about.bits,
            "dataset": about.dataset,
            "entities": len(student.content.entities),
            "relations": list(student.content.relations.names),
            "granularity": about.granularity,
            "metrics": about.metrics,
        }

    @app.get("/predict")
    def predict(
        subject: Name,
        relation: Name,
        at: Annotated[str | None, Query(max_length=LONGEST_NAME, description="year or day, or START:END")] = None,
        k: Annotated[int, Query(ge=1, le=1000)] = 10,
        head: Annotated[bool, Query(description="subject is the tail; ask for the head")] = False,
        new: Annotated[bool, Query(description="leave out answers that are known facts")] = False,
    ) -> list[dict[str, Any]]:
        """The best answers."""
        start, colon, end = (at or "").partition(":")
        time_asked = None if not at else (start, end) if colon else start
        try:
            known: Known = "leave out" if new else "mark"
            answers = student.answers(subject, relation, time_asked, k=k, head=head, known=known)
        except UserError as error:
            raise HTTPException(422, str(error)) from None
        return [vars(answer) for answer in answers]

    return app


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at an address.

    Raises:
        UserError: the port is taken or not allowed, or there is no such address.
    """
    if not host:
        raise UserError("--host: is empty, which would be every address of this machine; name one, such as 127.0.0.1")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server((str(address[0]), port), family=family)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot listen at {host}, port {port} ({reason}); choose another --host or --port") from None


def serve(student: Student, listening: socket.socket, rate: float) -> None:
    """Answer until Ctrl-C or SIGTERM."""
    settings = uvicorn.Config(
        application(student, rate),
        log_level="warning",
        limit_concurrency=64,
        h11_max_incomplete_event_size=16_384,
        timeout_keep_alive=5,
    )
    uvicorn.Server(settings).run(sockets=[listening])
