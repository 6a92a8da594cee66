"""What one socket is to bring: a refusal costs the stream it names, a stream that stops alone is noticed."""

from __future__ import annotations

import random

import pytest

from workers.ingest.subscriptions import Refusals, Subscriptions
from workers.venues.messages import Subscription

WANTED = [Subscription(f"s{number}@depth", "depth", f"S{number}") for number in range(200)]


class Exchange:
    """Answers control frames; refuses any that names a bad stream, as a whole."""

    def __init__(self, bad: set[str], *, numbered: bool = True) -> None:
        self.bad = bad
        self.numbered = numbered
        self.subscribed: set[str] = set()
        self.frames = 0
        self.told: list[str] = []

    def serve(self, streams: Subscriptions, now: float) -> None:
        """Answer everything that is asked, one frame after the other."""
        while (request := streams.next()) is not None:
            for method in request.methods:
                self.frames += 1
                streams.sent(self.frames, method, request.streams, now)
                names = {one.stream for one in request.streams}
                if method == "unsubscribe":
                    self.subscribed -= names
                    streams.acknowledged(self.frames)
                elif names & self.bad:
                    number = self.frames if self.numbered else None
                    news = streams.refused(number, 2, "Invalid request", now)
                    self.told += [refusal.stream.stream for refusal in news]
                else:
                    self.subscribed |= names
                    streams.acknowledged(self.frames)


@pytest.mark.parametrize("numbered", [True, False])
@pytest.mark.parametrize("number_of_bad", [1, 3])
def test_refused_streams_are_named_and_all_others_come(number_of_bad: int, numbered: bool) -> None:
    drawn = random.Random(number_of_bad)
    bad = {one.stream for one in drawn.sample(WANTED, number_of_bad)}
    exchange, refusals = Exchange(bad, numbered=numbered), Refusals(10)
    streams = Subscriptions(refusals, 100, 10)
    streams.want(WANTED)
    exchange.serve(streams, 0)
    assert exchange.subscribed == {one.stream for one in WANTED} - bad
    assert sorted(exchange.told) == sorted(bad)
    assert streams.answered
    assert streams.accepted == 200 - number_of_bad
    assert exchange.frames <= 2 + number_of_bad * 14


def test_a_refused_stream_is_asked_for_alone_ever_more_rarely_and_told_once() -> None:
    exchange, refusals = Exchange({"s7@depth"}), Refusals(10)
    streams = Subscriptions(refusals, 100, 10)
    streams.want(WANTED)
    exchange.serve(streams, 0)
    before, asked = exchange.frames, []
    for now in range(1, 1000):
        streams.retry(now)
        exchange.serve(streams, now)
        if exchange.frames != before:
            assert exchange.frames == before + 1
            before = exchange.frames
            asked.append(now)
    assert asked == [10, 30, 70, 150, 310, 630]
    assert exchange.told == ["s7@depth"]
    assert refusals.names() == ["S7@depth"]
    assert streams.accepted == len(WANTED) - 1
    exchange.bad.clear()
    streams.retry(10_000)
    exchange.serve(streams, 10_000)
    assert "s7@depth" in exchange.subscribed
    assert refusals.names() == []
    assert streams.accepted == len(WANTED)
    streams.retry(20_000)
    assert not streams.queued


def test_the_next_socket_does_not_ask_for_it_among_the_others() -> None:
    exchange, refusals = Exchange({"s7@depth"}), Refusals(10)
    first = Subscriptions(refusals, 100, 10)
    first.want(WANTED)
    exchange.serve(first, 0)
    second, other = Subscriptions(refusals, 100, 10), Exchange({"s7@depth"})
    second.want(WANTED)
    other.serve(second, 1)
    assert other.frames == 2
    assert second.answered
    exchange.bad.clear()
    first.retry(10)
    exchange.serve(first, 10)  # accepted on the first socket: the second asks for it too
    other.bad.clear()
    second.retry(11)
    other.serve(second, 11)
    assert "s7@depth" in other.subscribed


def test_a_refused_unsubscription_refuses_no_stream() -> None:
    refusals = Refusals(10)
    streams = Subscriptions(refusals, 100, 10)
    streams.want(WANTED[:2])
    Exchange(set()).serve(streams, 0)
    streams.sent(9, "unsubscribe", WANTED[:1], 0)
    assert streams.refused(9, 2, "no", 0) == []
    assert streams.refused(12345, 2, "of nothing we sent", 0) == []
    assert streams.refused(None, 3, "of nothing we sent", 0) == []
    assert refusals.names() == []


def beating(gaps: list[float]) -> tuple[Subscriptions, float]:
    streams, now = Subscriptions(Refusals(10), 100, 10), 1.0
    streams.want(WANTED[:2])
    Exchange(set()).serve(streams, now)
    for gap in gaps:
        now += gap
        streams.heard("depth", "S0", now)
    return streams, now


def test_a_stream_that_stops_alone_is_subscribed_anew_ever_more_rarely() -> None:
    streams, now = beating([0.1] * 100)
    seconds = [after for after in range(1, 400) if streams.stopped(now + after, 1.0)]
    assert seconds == [11, 21, 41, 81, 161, 321]
    requests = []
    while (request := streams.next()) is not None:
        requests.append((request.methods, [one.symbol for one in request.streams]))
    assert requests == [(("unsubscribe", "subscribe"), ["S0"])] * len(seconds)  # never S1, which never spoke


def test_a_stream_that_pauses_often_may_do_so() -> None:
    streams, now = beating([1.0, 30.0, 0.1, 20.0])
    assert not any(streams.stopped(now + after, 1.0) for after in range(100))
    assert streams.stopped(now + 121, 1.0)


def test_the_silence_before_a_revival_is_no_pause_of_the_stream_itself() -> None:
    streams, now = beating([0.1] * 100)
    assert streams.stopped(now + 90, 1.0)
    Exchange(set()).serve(streams, now + 90)
    streams.heard("depth", "S0", now + 91)
    assert streams.stopped(now + 91 + 11, 1.0)


@pytest.mark.parametrize("answers", [0, 1, 50])
def test_a_quiet_stream_is_not_asked_for_again_and_again(answers: int) -> None:
    """A whole book or trades of before are the answer to a request, and no sign that the stream had stopped."""
    streams, exchange = Subscriptions(Refusals(10), 100, 10), Exchange(set())
    streams.want(WANTED[:1])
    exchange.serve(streams, 0)
    asked = 0
    for now in range(1, 3600):
        if now % 60 == 0:  # what the stream brings by itself
            streams.heard("depth", "S0", now)
        if streams.stopped(now, 1.0):
            asked += 1
            exchange.serve(streams, now)
            for _ in range(answers):
                streams.heard("depth", "S0", now + 0.1)
    assert asked == 3, "until its own pauses are known"


def test_who_proves_that_a_quiet_stream_is_dead_is_heard_within_a_minute() -> None:
    streams, now = beating([0.1] * 100)
    for after in range(1, 400):
        if streams.stopped(now + after, 1.0):
            Exchange(set()).serve(streams, now + after)
            streams.heard("depth", "S0", now + after + 0.1)
    # asked for after 322 s, and the next time after 642
    assert streams.revive([("depth", "S0")], now + 380) == []
    assert [one.symbol for one in streams.revive([("depth", "S0")], now + 382)] == ["S0"]


def test_what_the_exchange_refuses_now_is_not_asked_for_among_others_that_stopped() -> None:
    streams, now = beating([0.1] * 100)
    streams.heard("depth", "S1", now)
    exchange = Exchange({"s0@depth"})
    streams.stopped(now + 11, 1.0)
    exchange.serve(streams, now + 11)
    assert exchange.told == ["s0@depth"]
    assert [one.symbol for one in streams.stopped(now + 60, 1.0)] == ["S1"]


def test_the_other_line_is_more_patient() -> None:
    streams, now = beating([0.1] * 100)
    assert not streams.stopped(now + 14, 1.5)
    assert streams.stopped(now + 16, 1.5)


def test_revived_is_what_is_here_and_silent() -> None:
    streams, now = beating([0.1] * 10)
    names = [("depth", "S0"), ("depth", "S1"), ("depth", "NOBODY")]
    assert [one.symbol for one in streams.revive(names, now + 0.5)] == ["S1"]  # S0 was heard just now
    assert [one.symbol for one in streams.revive(names, now + 3)] == ["S0"]
    assert streams.revive(names, now + 4) == []  # asked for already, by whomever
    assert [one.symbol for one in streams.revive(names, now + 14)] == ["S0", "S1"]


def test_a_request_that_nobody_answers_is_told_once() -> None:
    streams = Subscriptions(Refusals(10), 100, 10)
    streams.want(WANTED[:2])
    request = streams.next()
    assert request is not None
    streams.sent(1, "subscribe", request.streams, 5)
    assert streams.unanswered(6, 60) == []
    assert streams.unanswered(66, 60) == [1]
    assert streams.unanswered(67, 60) == []
