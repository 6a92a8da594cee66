"""Requests that cannot be answered do not fill the log, however many there are."""

from __future__ import annotations

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from redis.exceptions import ConnectionError as ConnectionLost
from structlog.testing import capture_logs

from workers.api.http.application import Application
from workers.api.request_log import TOLD_EVERY_S, RequestLog
from workers.settings.api import ApiSettings


async def late(_: web.Request) -> web.Response:
    raise TimeoutError


async def away(_: web.Request) -> web.Response:
    raise ConnectionLost("away")


async def test_many_requests_that_fail_are_few_lines() -> None:
    app = Application(ApiSettings(), [], [web.get("/late", late), web.get("/away", away)]).build()
    async with TestClient(TestServer(app)) as client:
        with capture_logs() as logs:
            for path in ("/late", "/away") * 30:
                async with client.get(path) as response:
                    assert response.status == 503
    told = [entry["event"] for entry in logs if entry["log_level"] == "warning"]
    assert len(told) < 20  # one each, unless this takes very long
    assert {"request_timed_out", "request_failed"} <= set(told)


def test_what_was_not_told_is_counted() -> None:
    now = [0.0]
    requests = RequestLog(lambda: now[0])
    with capture_logs() as logs:
        for _ in range(5):
            requests.tell("request_failed", "/status", path="/status")
        requests.tell("request_failed", "/trades", path="/trades")
        now[0] = TOLD_EVERY_S
        requests.tell("request_failed", "/status", path="/status")
    assert [(entry["route"], entry["untold"]) for entry in logs] == [
        ("/status", 0),
        ("/trades", 0),
        ("/status", 4),
    ]
