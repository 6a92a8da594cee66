"""What a socket asks of REST: a POST as it is, one answer, and a word where there is none."""

from __future__ import annotations

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from structlog.testing import capture_logs

from workers.ingest.rest_questions import ASKED_IN_VAIN, RestQuestions
from workers.venues.messages import Ignored
from workers.venues.requests import Post, RestRequest
from workers.venues.session import Ask, Event


@pytest.mark.parametrize(("status", "body"), [(200, b"nonce=7 sesame"), (500, None), (302, None)])
async def test_a_question_is_posted_and_what_follows_is_done(status: int, body: bytes | None):
    async def answer(request: web.Request) -> web.Response:
        text = f"{await request.text()} {request.headers['API-Key']}"
        return web.Response(status=status, text=text, headers={"Location": "/elsewhere"})

    application = web.Application()
    application.router.add_post("/token", answer)
    taken: list[bytes | None] = []

    def take(found: bytes | None, now_ms: int) -> list[Event]:
        taken.append(found)
        return [Ignored("done")]

    done: list[Event] = []

    async def act(event: Event) -> None:
        done.append(event)

    labels = ("asking", "a")
    before = ASKED_IN_VAIN.labels(*labels)._value.get()
    async with TestServer(application) as server, aiohttp.ClientSession() as session:
        questions = RestQuestions(session, labels, 30)
        post = Post("nonce=7", {"API-Key": "sesame"})
        with capture_logs() as logs:
            questions.ask(Ask(RestRequest(str(server.make_url("/token")), 1, "p", 1000, post), take), act)
            while questions.tasks:
                await next(iter(questions.tasks))
    assert (taken, done) == ([body], [Ignored("done")])
    assert ASKED_IN_VAIN.labels(*labels)._value.get() - before == (body is None)
    assert [(line["event"], line["error"]) for line in logs] == (
        [] if body else [("asked_in_vain", f"status {status}")]
    )
    assert "sesame" not in str(logs)
