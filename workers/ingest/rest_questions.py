"""What a socket cannot go on without and REST has to be asked for, such as a token; the socket goes on meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import aiohttp
import structlog
from prometheus_client import Counter

from workers.errors import RestUnavailable
from workers.runtime.rest_reply import fetch
from workers.runtime.tasks import seen
from workers.venues.session import Ask, Event

log = structlog.get_logger()

ASKED_IN_VAIN = Counter(
    "fleet_asked_in_vain_total",
    "Requests for what a socket cannot go on without, such as a token, that REST did not answer",
    ["venue", "line"],
)


class RestQuestions:
    """The questions of one socket.

    Args:
        labels: venue and line.
        timeout_s: for one of them.
    """

    def __init__(self, session: aiohttp.ClientSession, labels: tuple[str, str], timeout_s: float) -> None:
        self._session = session
        self._labels = labels
        self._timeout_s = timeout_s
        self.tasks: set[asyncio.Task[None]] = set()
        """Those that have no answer yet."""

    def ask(self, question: Ask, act: Callable[[Event], Awaitable[None]]) -> None:
        """Ask, and do what follows from the answer."""
        task = seen(asyncio.create_task(self._answered(question, act), name="socket: asking REST"))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _answered(self, question: Ask, act: Callable[[Event], Awaitable[None]]) -> None:
        body = await self._body(question)
        for event in question.take(body, time.time_ns() // 1_000_000):
            await act(event)

    async def _body(self, question: Ask) -> bytes | None:
        """That of a good reply; None, and a word in the log, where there is none."""
        try:
            reply = await fetch(self._session, question.request, self._timeout_s)
            if reply.status == 200 and not reply.overlong:
                return reply.body
            problem = f"status {reply.status}" + (", overlong" if reply.overlong else "")
        except RestUnavailable as error:
            problem = str(error)
        ASKED_IN_VAIN.labels(*self._labels).inc()
        log.warning("asked_in_vain", venue=self._labels[0], line=self._labels[1], rest=question.request.url,
                    error=problem)  # fmt: skip
        return None
