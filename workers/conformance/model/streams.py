"""Model-level scripts: what happens to events on their way, and to the market itself."""

from __future__ import annotations

import json
from typing import Any, Final

from workers.conformance.model.market import WireEvent
from workers.conformance.model.world import ModelWorld

ZEROS: Final = ("0", "0.0", "0.000", "0.00000000")


def calm(world: ModelWorld) -> None:
    """Nothing happens."""
    world.start()
    world.run(200)
    world.expect_undisturbed()


def lost(world: ModelWorld) -> None:
    """One event does not arrive."""
    world.start()
    for _ in range(3):
        world.market.event()
        world.deliver(world.market.event())
        world.expect(not world.book.in_sync(), "it is in sync right after a lost event.")
        world.run(15)
    world.expect_asked(4)


def duplicated(world: ModelWorld) -> None:
    """Every event arrives twice, and now and then the last ones once more."""
    world.start()
    past: list[WireEvent] = []
    for place in range(60):
        past.append(world.market.event())
        world.deliver(past[-1])
        world.deliver(past[-1])
        for event in past[-4:] if place % 10 == 9 else ():
            world.deliver(event)
    world.expect_undisturbed()


def swapped(world: ModelWorld) -> None:
    """Two neighbours arrive in the wrong order."""
    world.start()
    for _ in range(4):
        first, second = world.market.event(), world.market.event()
        world.deliver(second)
        world.deliver(first)
        world.run(15)
    world.expect_asked(5)


def delayed(world: ModelWorld) -> None:
    """Nothing arrives for half a minute, then all of it at once."""
    world.start()
    for _ in range(3):
        late = [world.market.event() for _ in range(30)]
        world.wait(30)
        for event in late:
            world.deliver(event)
    world.expect_undisturbed()


def burst(world: ModelWorld) -> None:
    """Many more events than usual before the first snapshot is answered, and large ones later."""
    world.answering = False
    world.run(400)
    world.answering = True
    world.run(10)
    world.run(3, changes=1500)
    world.run(300)
    world.expect_undisturbed()


def long_burst(world: ModelWorld) -> None:
    """More events than anybody would keep come before the first snapshot is answered."""
    world.answering = False
    world.run(2500, changes=2)
    world.answering = True
    world.run(10)
    world.expect_undisturbed()


def crossed(world: ModelWorld) -> None:
    """One event has a bid above the best ask, and no later one takes it back."""
    world.start()
    event = world.market.event()
    best = min(world.market.truth(event.last_id)[1])
    event.body["b"].append([world.market.price(best + 200 * world.market.reach), "1.000"])
    world.deliver(event)
    world.expect(not world.book.in_sync(), "it shows a crossed book.")
    world.run(3)
    world.wait(5)
    world.run(15)
    world.expect_asked(2)


def crossed_and_passed(world: ModelWorld) -> None:
    """A wrong bid crosses the book until the market has risen past it, then a wrong ask until it has fallen."""
    world.start()
    market = world.market
    for side in (0, 1):
        event = market.event()
        opposite = market.truth(event.last_id)[1 - side]
        wrong = max(opposite) if side else min(opposite)
        event.body["ba"[side]].append([market.price(wrong), "1.000"])
        world.deliver(event)
        world.expect(not world.book.in_sync(), "it shows a crossed book.")
        beyond = wrong - market.middle + (-5 if side else 5)
        world.deliver(market.event(drift=beyond))
        world.expect(not world.book.in_sync(), "it goes on with a level that nobody took back.")
        world.run(15)
    world.expect_asked(3)


def unknown_deletes(world: ModelWorld) -> None:
    """Events delete levels that nobody ever saw, and repeat what is known."""
    world.start()
    for _ in range(30):
        event = world.market.event()
        bids, asks = world.market.truth(event.last_id)
        event.body["b"] += [[world.market.price(max(1, min(bids) - 7)), "0.000"]]
        event.body["a"] += [[world.market.price(max(asks) + 7), "0.000"]]
        world.deliver(event)
    world.expect_undisturbed()


def unknown_keys(world: ModelWorld) -> None:
    """Events have keys that no document names, with values of every kind."""
    world.start()
    for _ in range(30):
        event = world.market.event()
        event.body |= {"zz": None, "ps": "BNB", "st": 2, "ext": {"v": [1, {"u": 1, "pu": 2}], "e": "x"}}
        world.deliver(event)
    world.expect_undisturbed()


def shuffled_keys(world: ModelWorld) -> None:
    """The keys of events come in any order."""
    world.start()
    for _ in range(30):
        event = world.market.event()
        items = list(event.body.items())
        world.market.random.shuffle(items)
        world.deliver(WireEvent(dict(items)))
    world.expect_undisturbed()


def zero_spellings(world: ModelWorld) -> None:
    """Zero quantities are spelled in several ways."""
    world.start()
    for _ in range(80):
        event = world.market.event()
        for level in [*event.body["b"], *event.body["a"]]:
            if not level[1].strip("0."):
                level[1] = world.market.random.choice(ZEROS)
        world.deliver(event)
    world.expect_undisturbed()


def power_of_ten(world: ModelWorld) -> None:
    """The price goes from two digits to three and back, again and again."""
    world.start()
    for drift in (4, -4) * 4:
        world.run(12, drift=drift)
    world.expect_undisturbed()


def drift(world: ModelWorld) -> None:
    """The price drifts by thousands of ticks, far out of the range of the first snapshot, and back."""
    world.start(30)
    asked = world.asked
    for step in (5, -5):
        for _ in range(12):
            world.run(20, changes=16, drift=step)
            known = min(len(side) for side in world.book.levels())
            world.expect(known >= 5, f"it knows only {known} levels of a side.")
    world.expect(world.losses == 0, f"it left sync {world.losses} times; nothing was wrong.")
    world.expect(
        world.asked > asked, "it never asked for another snapshot, so it cannot know the levels there."
    )


def one_side_empty(world: ModelWorld) -> None:
    """All bids are taken away and come back later; then all asks."""
    world.start()
    for side in (0, 1):
        world.deliver(world.market.empty(side))
        world.run(20)
        world.market.empty_side = None
        world.run(20)
    world.expect_undisturbed()


def halted(world: ModelWorld) -> None:
    """The market stands still for ten minutes, then goes on."""
    world.start()
    world.wait(600)
    world.run(50)
    world.expect_undisturbed()


def tick_size(world: ModelWorld) -> None:
    """Prices get another grid, and are spelled with more decimals than before."""
    world.start()
    world.market.decimals = 4
    world.run(60)
    world.market.grid = 5
    world.run(60)
    world.market.decimals, world.market.grid = 2, 1
    world.run(60)
    world.expect_undisturbed()


def ids_restarted(world: ModelWorld) -> None:
    """The exchange begins to count its update ids anew."""
    world.start()
    world.market.restart_ids()
    world.run(30)
    world.expect(world.losses == 1, f"it left sync {world.losses} times, not once.")
    world.expect_asked(2)


def _damaged(world: ModelWorld, spoil: Any) -> None:
    world.start()
    for _ in range(3):
        event = world.market.event()
        world.deliver(event, spoil(event))
        world.deliver(world.market.event())
        world.expect(not world.book.in_sync(), "it is in sync after an event that cannot be used.")
        world.run(15)
    world.expect_asked(4)


def truncated_event(world: ModelWorld) -> None:
    """The text of an event ends in the middle."""
    _damaged(world, lambda event: event.encoded()[:-25])


def absurd_number(world: ModelWorld) -> None:
    """An event has a quantity that is no number."""

    def spoil(event: WireEvent) -> bytes:
        sides = [*event.body["b"], *event.body["a"]]
        sides[len(sides) // 2][1] = "NaN"
        return json.dumps(event.body).encode()

    _damaged(world, spoil)
