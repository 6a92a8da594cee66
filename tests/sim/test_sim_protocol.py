"""Control requests, frame limit, heartbeat and request weight, without sockets."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.sim.binance.protocol import METHODS, ControlSession, FrameLimiter, Heartbeat
from workers.sim.engine.limits import AttemptLimiter, WeightPool


def session(market: str = "usdm", combined: bool = False, max_streams: int = 1024) -> ControlSession:
    return ControlSession(market, combined, max_streams, lambda _: None, lambda _: None)


def ask(control: ControlSession, request: object) -> dict:
    return json.loads(control.handle(request if isinstance(request, str) else json.dumps(request)))


def test_everything_syntactically_valid_is_acknowledged_and_listed():
    control = session()
    names = [
        "btcusdt@depth@100ms",
        "BTCUSDT@depth",
        "nosuch@aggTrade",
        "btcusdt@depth@7ms",
        "币安人生usdt@trade",
    ]
    assert ask(control, {"method": "SUBSCRIBE", "params": names, "id": 1}) == {"result": None, "id": 1}
    assert ask(control, {"method": "LIST_SUBSCRIPTIONS", "id": 2}) == {"result": names, "id": 2}
    ask(control, {"method": "UNSUBSCRIBE", "params": [*names[1:], "never@depth"], "id": 3})
    assert ask(control, {"method": "LIST_SUBSCRIPTIONS", "id": 4})["result"] == names[:1]


@pytest.mark.parametrize(
    ("request_text", "reply"),
    [
        ("hello", {"error": {"code": 3, "msg": "Invalid JSON: expected value at line 1 column 1"}}),
        ("", {"error": {"code": 3, "msg": "Invalid JSON: EOF while parsing a value at line 1 column 0"}}),
        (
            '{"method":"SUBSCRIBE","params":["a@depth" "b"],"id":1}',
            {"error": {"code": 3, "msg": "Invalid JSON: expected `,` or `]` at line 1 column 43"}},
        ),
        (
            '{"method":"FOO","id":20}',
            {
                "error": {
                    "code": 2,
                    "msg": "Invalid request: unknown variant `FOO`, expected one of `SUBSCRIBE`, "
                    "`UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY`",
                },
                "id": 20,
            },
        ),
        (
            '{"id":21}',
            {
                "error": {"code": 2, "msg": "Invalid request: missing field `method` at line 1 column 9"},
                "id": 21,
            },
        ),
        (
            '{"method":"LIST_SUBSCRIPTIONS","id":"x"}',
            {"error": {"code": 2, "msg": "Invalid request: request ID must be an unsigned integer"}},
        ),
        (
            '{"method":"SET_PROPERTY","params":["colour",true],"id":1}',
            {"error": {"code": 0, "msg": "Unknown property"}, "id": 1},
        ),
        (
            '{"method":"SET_PROPERTY","params":["combined","yes"],"id":1}',
            {"error": {"code": 1, "msg": "Invalid value type: expected Boolean"}, "id": 1},
        ),
        (
            '{"method":"GET_PROPERTY","params":[7],"id":1}',
            {"error": {"code": 2, "msg": "Invalid request: property name must be a string"}, "id": 1},
        ),
        (
            '{"method":"GET_PROPERTY","params":["combined",1],"id":1}',
            {"error": {"code": 2, "msg": "Invalid request: too many parameters"}, "id": 1},
        ),
    ],
)
def test_error_frames_have_the_wrapped_shape(request_text, reply):
    assert ask(session(), request_text) == reply


def test_ids_spot_takes_texts_and_negative_numbers_usdm_does_not():
    for request_id in ("abc123", -5, None, 7):
        assert ask(session("spot"), {"method": "LIST_SUBSCRIPTIONS", "id": request_id})["id"] == request_id
    for request_id in ("abc123", -5, 1.5, True, [1]):
        assert "error" in ask(session("usdm"), {"method": "LIST_SUBSCRIPTIONS", "id": request_id})


def test_combined_property_is_read_and_set():
    control = session(combined=True)
    assert ask(control, {"method": "GET_PROPERTY", "params": ["combined"], "id": 1})["result"] is True
    ask(control, {"method": "SET_PROPERTY", "params": ["combined", False], "id": 2})
    assert ask(control, {"method": "GET_PROPERTY", "params": ["combined"], "id": 3})["result"] is False


def test_more_streams_than_allowed_are_refused_as_a_whole():
    control = session(max_streams=3)
    ask(control, {"method": "SUBSCRIBE", "params": ["a@depth", "b@depth"], "id": 1})
    reply = ask(control, {"method": "SUBSCRIBE", "params": ["c@depth", "d@depth"], "id": 19})
    assert reply == {"error": {"code": 4, "msg": "Too many subscriptions"}, "id": 19}
    assert list(control.streams) == ["a@depth", "b@depth"]
    assert ask(control, {"method": "SUBSCRIBE", "params": ["a@depth", "c@depth"], "id": 2})["result"] is None


_ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10)


@settings(max_examples=100, deadline=None)
@given(
    st.text()
    | st.lists(_ANYTHING, max_size=3).map(json.dumps)
    | st.fixed_dictionaries(
        {},
        optional={
            "method": _ANYTHING | st.sampled_from(METHODS),
            "params": _ANYTHING | st.lists(_ANYTHING, max_size=3),
            "id": _ANYTHING,
        },
    ).map(json.dumps)
)
def test_no_text_breaks_the_session(text):
    assert isinstance(ask(session(), text), dict)


def test_frame_limit_is_a_rolling_second():
    limiter = FrameLimiter(5)
    assert all(limiter.admit(moment) for moment in (0.0, 0.1, 0.2, 0.3, 0.9))
    assert limiter.admit(1.05)
    assert not limiter.admit(1.06)


def test_only_an_echo_answers_a_ping():
    heartbeat = Heartbeat(20, 60, opened_s=0)
    assert heartbeat.ping(19, 1) is None
    assert heartbeat.ping(20, 1790134675605) == b"1790134675605"
    heartbeat.pong(b"")
    heartbeat.pong(b"other")
    assert heartbeat.ping(40, 1790134695605) is not None
    assert not heartbeat.expired(79)
    assert heartbeat.expired(80)
    heartbeat.pong(b"1790134695605")
    assert not heartbeat.expired(10_000)
    assert heartbeat.next_event_s == 60


def test_weight_is_counted_in_fixed_windows():
    pool = WeightPool(100, 60, ban_after_ignored=3, ban_s=120)
    assert pool.charge("a", 60, 30_000).used == 60
    refused = pool.charge("a", 60, 40_000)
    assert (refused.status, refused.used, refused.retry_after_s) == (429, 60, 20)
    assert pool.charge("b", 60, 40_000).status == 200
    assert pool.charge("a", 60, 60_000).used == 60


def test_ignoring_429_leads_to_bans_that_grow():
    pool = WeightPool(10, 60, ban_after_ignored=2, ban_s=120)
    statuses = [pool.charge("a", 11, 1_000).status for _ in range(4)]
    assert statuses == [429, 429, 418, 418]
    banned = pool.charge("a", 1, 61_000)
    assert (banned.status, banned.banned_until_ms, banned.retry_after_s) == (418, 121_000, 60)
    assert pool.charge("a", 1, 121_000).status == 200
    second = [pool.charge("a", 11, 121_000) for _ in range(3)][-1]
    assert second.banned_until_ms == 121_000 + 240_000


def test_connection_attempts_roll():
    limiter = AttemptLimiter(2, 300)
    assert [limiter.admit("a", moment) for moment in (0, 1, 2, 301)] == [True, True, False, True]
