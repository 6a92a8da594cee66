"""Model-level scripts: what is wrong with snapshots, and how the first events meet them."""

from __future__ import annotations

import json
from typing import Final

from workers.conformance.model.world import ModelWorld

LAG: Final = 800
"""Events."""


def stale(world: ModelWorld) -> None:
    """The first replies are older than the first event; one is from before a gap."""
    old = world.good_snapshot()
    world.run(3)
    world.answers = [lambda: old, lambda: old]
    world.run(30)
    world.expect_asked(3)
    before_gap = world.good_snapshot()
    world.market.event()
    world.answers = [lambda: before_gap]
    world.run(30)
    world.expect_asked(5)


def ahead(world: ModelWorld) -> None:
    """The stream is thirty events late, so that every snapshot is far ahead of it."""
    flight = [world.market.event() for _ in range(30)]
    for _ in range(100):
        flight.append(world.market.event())
        world.deliver(flight.pop(0))
    world.expect(world.book.in_sync(), "it is not in sync though the stream has passed the snapshot.")
    world.expect_asked(1)
    for event in flight:
        world.deliver(event)


def minus_one(world: ModelWorld) -> None:
    """After a lost event the replies have no levels and lastUpdateId -1."""
    world.start()
    world.market.event()
    world.answers = [lambda: world.good_snapshot(-1)] * 3
    world.run(30)
    world.expect_asked(5)


def first_minus_one(world: ModelWorld) -> None:
    """The first replies of all have no levels and lastUpdateId -1, though there are levels and events."""
    world.answers = [lambda: world.good_snapshot(-1)] * 2
    world.run(30)
    world.expect_asked(4)


def listed(world: ModelWorld) -> None:
    """A symbol that never traded: the first snapshot is empty, the first event comes after it."""
    world.send_snapshot(world.good_snapshot(-1))
    world.run(60)
    world.expect(world.losses == 0, f"it left sync {world.losses} times; nothing was wrong.")


def lagging(world: ModelWorld) -> None:
    """Every reply is the book of 800 events ago."""
    passed = [world.market.last_id]
    world.answers = [lambda: world.good_snapshot(passed[-LAG])] * 20
    world.answering = False
    for number in range(LAG + 100):
        world.answering = number >= LAG
        world.run(1, changes=2)
        passed.append(world.market.last_id)
    world.expect(
        world.book.in_sync(), "it is not in sync, though the log holds all events since the snapshot."
    )
    world.expect_asked(3)


def wrong_level(world: ModelWorld) -> None:
    """A snapshot has a wrong best bid though its id fits; a later one shows it."""

    def wrong() -> bytes:
        body = json.loads(world.good_snapshot())
        price, quantity = body["bids"][0]
        body["bids"][0] = [f"{float(price) - 0.005:.3f}", quantity]
        return json.dumps(body).encode()

    world.answers = [wrong]
    world.unknowable = True
    world.run(6)
    world.expect(world.asked == 1, "it did not ask for a snapshot.")
    world.book.begin_check()
    checked = world.good_snapshot()
    world.run(2)
    world.send_snapshot(checked)
    world.unknowable = False
    world.run(20)
    world.expect(world.losses >= 1, "it went on as before, though a second snapshot showed that it is wrong.")


def right_check(world: ModelWorld) -> None:
    """Snapshots nobody asked for come now and then, right ones."""
    world.start()
    for _ in range(5):
        world.book.begin_check()
        world.run(3)
        checked = world.good_snapshot()
        world.run(5)
        world.send_snapshot(checked)
        world.run(5)
    world.expect(world.losses == 0, f"it left sync {world.losses} times; nothing was wrong.")


def overlapping(world: ModelWorld) -> None:
    """The snapshot's id lies inside an event that was buffered, or is held back until it comes."""
    for early in (True, False):
        event = world.market.event(20)
        body = world.good_snapshot(world.market.id_between(event))
        world.answering = False
        if early:
            world.deliver(event)
            world.run(3)
            world.send_snapshot(body)
        else:
            world.market.event()
            world.run(1)
            later = world.market.event(20)
            body = world.good_snapshot(world.market.id_between(later))
            world.send_snapshot(body)
            world.deliver(later)
        world.expect(
            world.book.in_sync(), "it is not in sync though an event reaches over the snapshot's id."
        )
        world.answering = True
        world.run(20)


def adjoining(world: ModelWorld) -> None:
    """The first event begins exactly where the snapshot ends."""
    body = world.good_snapshot(world.market.event_id)
    world.answering = False
    world.run(3)
    world.send_snapshot(body)
    world.expect(world.book.in_sync(), "it is not in sync though the first event follows the snapshot.")
    world.answering = True
    world.run(40)
    world.expect_asked(0)


def late_reply(world: ModelWorld) -> None:
    """An old reply comes when the book has long been in sync."""
    old = world.good_snapshot()
    world.start()
    world.run(20)
    world.send_snapshot(old)
    world.run(20)
    world.expect_undisturbed()


def truncated_reply(world: ModelWorld) -> None:
    """The first replies end in the middle, or are an HTML page."""
    half = world.good_snapshot()[:-40]
    world.answers = [lambda: half, lambda: b"<html><body><h1>403 Forbidden</h1></body></html>"]
    world.run(30)
    world.expect_asked(3)
