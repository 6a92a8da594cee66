"""Single orders of Coinbase Exchange as they are simulated, against a reader written from its documents."""

import base64
import hashlib
import hmac
import json
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sim_sockets import ModelSocket, exchange_of, run

from workers.conformance.venues.rest import ModelRest
from workers.sim.engine.faults import Fault

PRODUCT = "BTC-USD"
LISTS = {"symbols": {"exchange": (PRODUCT,)}, "levels_per_side": 60, "rate_scale": 4.0}
KEY = {"api_key": "sesame", "api_secret": "b3BlbiBzZXNhbWU=", "api_passphrase": "open"}


def request(exchange, *, late_s: float = 0.0, **changed: str) -> dict:
    """A subscription to `full`, signed as the documents say."""
    timestamp = f"{exchange.now_ms / 1000 - late_s:.3f}"
    secret = base64.b64decode(KEY["api_secret"])
    digest = hmac.new(secret, f"{timestamp}GET/users/self/verify".encode(), hashlib.sha256).digest()
    return {
        "type": "subscribe",
        "channels": [{"name": "full", "product_ids": [PRODUCT]}],
        "key": KEY["api_key"],
        "passphrase": KEY["api_passphrase"],
        "timestamp": timestamp,
        "signature": base64.b64encode(digest).decode(),
        **changed,
    }


class NaiveOrders:
    """All orders in the order of their coming, as the documents say to keep them."""

    def __init__(self, seed: dict) -> None:
        self.sequence = seed["sequence"]
        self.orders = {
            row[2]: [side, Decimal(row[0]), Decimal(row[1])]
            for side in ("bids", "asks")
            for row in seed[side]
        }
        self.kinds: dict[str, int] = {}
        self.unknown: dict[str, int] = {}

    def apply(self, frame: dict) -> None:
        if frame["sequence"] <= self.sequence:
            return
        assert frame["sequence"] == self.sequence + 1, "not a number is missing"
        self.sequence, kind = frame["sequence"], frame["type"]
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        order_id = frame.get("maker_order_id") or frame["order_id"]
        if kind in ("done", "change") and order_id not in self.orders:
            self.unknown[kind] = self.unknown.get(kind, 0) + 1
        elif kind == "open":
            side = "bids" if frame["side"] == "buy" else "asks"
            self.orders[order_id] = [side, Decimal(frame["price"]), Decimal(frame["remaining_size"])]
        elif kind == "match":
            first = next(one for one, what in self.orders.items() if what[:2] == self.orders[order_id][:2])
            assert order_id == first, "the first of its price is matched"
            assert frame["side"] == {"bids": "buy", "asks": "sell"}[self.orders[order_id][0]]
            self.orders[order_id][2] -= Decimal(frame["size"])
        elif kind == "change":
            assert self.orders[order_id][2] == Decimal(frame["old_size"])
            self.orders[order_id][2] = Decimal(frame["new_size"])
        elif kind == "done":
            assert self.orders.pop(order_id)[2] == Decimal(frame["remaining_size"])

    def rows(self) -> list[list]:
        found = []
        for side, sign in (("bids", -1), ("asks", 1)):
            rows = [[what[1], what[2], one] for one, what in self.orders.items() if what[0] == side]
            found.append(sorted(rows, key=lambda row: sign * row[0]))
        return found


def true_rows(exchange) -> list[list]:
    truth = exchange.listed("exchange")[PRODUCT].truth_orders()
    return [[[Decimal(p), Decimal(q), one] for p, q, one in truth[side]] for side in ("bids", "asks")]


def level3(exchange) -> dict:
    body = ModelRest(exchange).get(f"http://exchange/products/{PRODUCT}/book?level=3")
    assert body is not None
    return json.loads(body)


@given(seed=st.integers(0, 10**6), late_s=st.floats(0, 1.5), step_ms=st.floats(1, 300))
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
def test_orders_are_true_numbered_without_a_gap_and_their_matches_are_the_trades(seed, late_s, step_ms):
    exchange = exchange_of("coinbase", key=KEY, seed=seed, jump_every_s=3, **LISTS)
    socket, trades = ModelSocket(exchange, "/exchange"), ModelSocket(exchange, "/exchange")
    trades.send({"type": "subscribe", "product_ids": [PRODUCT], "channels": ["matches", "heartbeat"]})
    run(exchange, 0.5, step_ms)
    trades.take()
    assert json.loads(socket.send(request(exchange))[0])["type"] == "subscriptions"
    run(exchange, late_s, step_ms)
    book = NaiveOrders(level3(exchange))
    run(exchange, 3, step_ms)
    exchange.pause()
    frames = [frame for frame in socket.take() if frame["type"] != "subscriptions"]
    for frame in frames:
        book.apply(frame)
    assert book.sequence == int(exchange.listed("exchange")[PRODUCT].truth_orders()["event_id"])
    assert book.rows() == true_rows(exchange)
    named = ("trade_id", "sequence", "size", "price", "side")
    told = [[frame[name] for name in named] for frame in frames if frame["type"] == "match"]
    assert told == [[f[name] for name in named] for f in trades.take() if f["type"] == "match"]


def test_takers_never_rest_some_have_no_price_and_some_are_changed_before():
    exchange = exchange_of("coinbase", key=KEY, **LISTS)
    socket = ModelSocket(exchange, "/exchange")
    socket.send(request(exchange))
    book = NaiveOrders(level3(exchange))
    run(exchange, 20)
    frames = socket.take()[1:]
    for frame in frames:
        book.apply(frame)
    assert set(book.kinds) == {"received", "open", "match", "change", "done"}
    assert book.unknown["done"] > 10
    assert book.unknown["change"] > 0
    assert any(f["type"] == "received" and "price" not in f for f in frames)
    assert any(f["type"] == "done" and "remaining_size" not in f for f in frames)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"key": "another"}, "invalid api key"),
        ({"passphrase": "another"}, "Invalid Passphrase"),
        ({"signature": "bm9uZQ=="}, "invalid signature"),
        ({"timestamp": "yesterday"}, "invalid timestamp"),
    ],
)
def test_who_does_not_sign_well_is_refused(changed, why):
    exchange = exchange_of("coinbase", key=KEY, **LISTS)
    socket = ModelSocket(exchange, "/exchange")
    [refused] = socket.send(request(exchange, **changed))
    assert json.loads(refused) == {
        "type": "error",
        "message": "Authentication Failed",
        "reason": f'{{"message":"{why}"}}',
    }
    run(exchange, 1)
    assert len(socket.texts) == 1, "nothing is told"
    [late] = socket.send(request(exchange, late_s=60))
    assert "expired" in json.loads(late)["reason"]


def test_an_old_seed_can_be_served():
    exchange = exchange_of("coinbase", key=KEY, **LISTS)
    first = level3(exchange)
    run(exchange, 2)
    exchange.set_fault(Fault.parse("snapshot_stale"))
    assert level3(exchange)["sequence"] == first["sequence"]
    exchange.remove_faults(None)
    assert level3(exchange)["sequence"] > first["sequence"]
