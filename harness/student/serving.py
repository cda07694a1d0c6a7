"""A student over HTTP with JSON: ``GET /predict``, ``GET /info``, ``GET /health``, and ``/openapi.json``.

FastAPI and uvicorn (the extra ``serve``) do the work. Requests are bounded in number, length and rate.
"""

from __future__ import annotations

import threading
import time
from collections import deque
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
    """At most ``rate`` requests a second on the average, ``2 · rate`` at once; ``clock`` in seconds."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.clock = rate, clock
        self._times: deque[float] = deque()
        self._lock = threading.Lock()

    def takes(self) -> bool:
        """Whether one more request may be answered now."""
        with self._lock:
            now = self.clock()
            while self._times and self._times[0] <= now - 2:
                self._times.popleft()
            if len(self._times) >= 2 * self.rate:
                return False
            self._times.append(now)
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
    limit = Limit(rate)

    @app.middleware("http")
    async def bounded(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        if len(str(request.url)) > LONGEST_URL:
            return JSONResponse({"detail": f"the address is longer than {LONGEST_URL} characters"}, 414)
        if request.url.path != "/health" and not limit.takes():
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


def serve(student: Student, host: str, port: int, rate: float) -> None:
    """Answer until Ctrl-C or SIGTERM.

    Raises:
        UserError: the port is taken or not allowed.
    """
    settings = uvicorn.Config(
        application(student, rate),
        host=host,
        port=port,
        log_level="warning",
        limit_concurrency=64,
        h11_max_incomplete_event_size=16_384,
        timeout_keep_alive=5,
    )
    try:
        uvicorn.Server(settings).run()
    except SystemExit:  # uvicorn's answer to an address that it cannot bind
        raise UserError(f"serve: cannot listen at {host}:{port}; choose another --port") from None
