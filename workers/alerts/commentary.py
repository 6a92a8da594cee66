"""Asking a language model for a comment on each alert: one question, within limits, and nothing waits for the answer.

The answer is text that is stored beside the alert and marked as a machine's. The key is sent to the model's server
alone and never logged.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

import aiohttp
import structlog
from msgspec import MsgspecError
from redis.exceptions import RedisError

from workers.alerts.metrics import COMMENT_FAILED, COMMENT_SKIPPED, COMMENTED
from workers.alerts.owner import AlertOwner
from workers.errors import LeaseLost
from workers.model.alerts.commentary import MOST_ANSWER, Answer, answer_of, most_tokens, question
from workers.model.alerts.records import Alert, Comment, field_of
from workers.model.alerts.rules import SEVERITIES
from workers.settings.alerts import AlertSettings

log = structlog.get_logger()

MOST_WAITING: Final = 100
"""Alerts that wait to be asked about."""


class Commentator:
    """One language model; nothing is asked where the settings name none."""

    def __init__(self, settings: AlertSettings, owner: AlertOwner, session: aiohttp.ClientSession) -> None:
        self._settings = settings
        self._owner = owner
        self._session = session
        self._waiting: asyncio.Queue[Alert] = asyncio.Queue(MOST_WAITING)
        self._least = SEVERITIES.index(settings.commentary_severity)

    def offer(self, alert: Alert) -> None:
        """Have an alert asked about, if that is wanted and there is room."""
        if (
            not self._settings.commentary_url
            or alert.silenced
            or SEVERITIES.index(alert.severity) < self._least
        ):
            return
        try:
            self._waiting.put_nowait(alert)
        except asyncio.QueueFull:
            self._skip(alert, "queue")

    def _skip(self, alert: Alert, reason: str) -> None:
        COMMENT_SKIPPED.labels(reason).inc()
        log.info("alerts_comment_skipped", alert=alert.id, reason=reason)

    async def run(self) -> None:
        """Ask until cancelled, one question at a time."""
        while True:
            alert = await self._waiting.get()
            if not self._owner.is_open(alert):
                self._skip(alert, "resolved")
                continue
            try:
                await self._ask_about(alert)
            except (RedisError, LeaseLost) as error:
                self._skip(alert, "store")
                log.debug("alerts_comment_not_stored", alert=alert.id, error=type(error).__name__)

    async def _ask_about(self, alert: Alert) -> None:
        settings, asked_ms = self._settings, int(time.time() * 1000)
        body = question(alert, settings.commentary_model, settings.commentary_tokens)
        cost = most_tokens(body, settings.commentary_tokens)
        if not await self._spend(asked_ms, cost):
            self._skip(alert, "limit")
            return
        answer = await self._ask(body)
        if isinstance(answer, str):
            COMMENT_FAILED.labels(answer).inc()
            log.warning("alerts_comment_failed", alert=alert.id, reason=answer)
            return
        if answer.tokens is not None and 0 <= answer.tokens < cost:
            await self._spend(asked_ms, answer.tokens - cost)
        comment = Comment(alert.id, answer.text, settings.commentary_model, asked_ms)
        await self._owner.comment(field_of(alert.rule, alert.target), comment)
        COMMENTED.inc()

    async def _spend(self, now_ms: int, cost: int) -> bool:
        settings = self._settings
        return await self._owner.book.spend(
            now_ms, settings.commentary_per_hour, settings.commentary_tokens_per_day, cost
        )

    async def _ask(self, body: bytes) -> Answer | str:
        """What the model answers, or why there is no usable answer."""
        settings = self._settings
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if settings.commentary_key:
            headers["Authorization"] = f"Bearer {settings.commentary_key}"
        try:
            async with self._session.post(
                f"{settings.commentary_url.rstrip('/')}/chat/completions",
                data=body,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=settings.commentary_timeout_s),
                allow_redirects=False,
                auto_decompress=False,  # a small reply could be a huge one
            ) as response:
                if response.status != 200:
                    return f"status {response.status}"
                reply = bytearray()
                async for chunk in response.content.iter_chunked(8_192):
                    reply += chunk
                    if len(reply) > MOST_ANSWER:
                        return "too long"
        except TimeoutError:
            return "timeout"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return type(error).__name__
        try:
            return answer_of(bytes(reply))
        except (MsgspecError, ValueError, RecursionError):
            return "no answer"
