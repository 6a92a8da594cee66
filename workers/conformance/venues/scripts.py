"""What the world does on the model level of the venues, step by step, and what it expects besides the truth."""

from __future__ import annotations

from typing import Final

from workers.conformance.venues.needs import in_band, numbers_connections
from workers.conformance.venues.world import VenueWorld

WHILE_S: Final = 4.0
STILL_S: Final = 200.0
"""Longer than any exchange leaves a book, or a socket, without a word."""


def calm(world: VenueWorld) -> None:
    """Nothing goes wrong."""
    world.start()
    world.run(WHILE_S)
    world.expect_undisturbed()
    world.expect(world.replaced == 0, "it gave up a socket on which all was well.")


def still(world: VenueWorld) -> None:
    """Nothing happens on the market for minutes."""
    world.start()
    world.halt()
    world.run(STILL_S)
    world.reopen()
    world.run(WHILE_S)
    world.expect_undisturbed()
    world.expect(world.replaced == 0, "it gave up a socket on which all was well.")


def lost(world: VenueWorld) -> None:
    """A message of a book is sent to nobody."""
    world.start()
    world.fault("lose count=1", of_depth=True)
    shared = numbers_connections(world.facts)
    world.back(*(world.symbols if shared else [world.symbol]))
    world.expect(world.books[world.symbol].losses == 1, "the book was not lost once.")
    if not shared:
        world.expect_undisturbed(*world.symbols[1:])


def lost_trades(world: VenueWorld) -> None:
    """Messages of trades are sent to nobody."""
    world.start()
    world.until("there are trades", lambda: world.symbol in world.trade_streams)
    world.struck(world.fault("lose count=3", of_trades=True), 3)
    world.run(WHILE_S)


def truncated(world: VenueWorld) -> None:
    """The text of a message of a book ends in the middle."""
    world.start()
    world.fault("truncate count=1", of_depth=True)
    world.back(*(world.symbols if numbers_connections(world.facts) else [world.symbol]))
    world.expect(world.malformed == 1, f"{world.malformed} frames were told to be malformed, not one.")


def duplicated(world: VenueWorld) -> None:
    """Every message comes twice, and old ones come again."""
    world.start()
    world.fault("duplicate")
    world.fault("repeat share=0.5")
    world.run(WHILE_S)
    world.expect_undisturbed()


def unknown_deletes(world: VenueWorld) -> None:
    """Messages of a book delete levels that it never had."""
    world.start()
    world.struck(world.fault("unknown_deletes", of_depth=True), 10)
    world.expect_undisturbed()


def unknown_keys(world: VenueWorld) -> None:
    """Messages have keys that no document names."""
    world.start()
    world.struck(world.fault("unknown_keys"), 10)
    world.expect_undisturbed()


def shuffled_keys(world: VenueWorld) -> None:
    """The keys of messages come in any order."""
    world.start()
    world.struck(world.fault("shuffle_keys"), 10)
    world.expect_undisturbed()


def absurd_number(world: VenueWorld) -> None:
    """A message of a book has a quantity that is no number."""
    world.start()
    world.fault("absurd count=1", of_depth=True)
    world.back()


def wrong_checksum(world: VenueWorld) -> None:
    """Checksums are wrong until the book is lost for it."""
    world.start()
    number = world.fault("checksum")
    book = world.books[world.symbol]
    world.until("the book is lost", lambda: book.losses > 0)
    world.remove(number)
    world.until("the book is shown again", lambda: book.shown)
    world.expect(book.sync.reason in ("checksum", ""), f"it was lost for {book.sync.reason!r}.")
    world.expect_undisturbed(*world.symbols[1:])


def silent_subscription(world: VenueWorld) -> None:
    """All sockets are cut, and the new subscription to one book is acknowledged and brings nothing."""
    world.start()
    number = world.fault("silent_stream count=1", of_depth=True)
    world.reset()
    world.struck(number)
    book = world.books[world.symbol]
    stood_at = book.seen_at
    world.until("the silent book goes on", lambda: book.shown and book.seen_at > stood_at)
    most = (
        1 if in_band(world.facts) else 2
    )  # the first answer may be older than the first event of the new socket
    world.expect(book.asked <= most, f"it was asked for {book.asked} times; {most} suffice.")


def snapshot_first(world: VenueWorld) -> None:
    """Snapshots come before the acknowledgement of the subscription."""
    world.start()
    world.fault("snapshot_first count=1", of_depth=True)
    world.reset()
    world.until("every book is shown", world.all_shown)
    world.run(WHILE_S)


def ids_anew(world: VenueWorld) -> None:
    """The ids of a book's messages begin anew, lower."""
    world.start()
    before = world.books[world.symbol].sync.last_update_id
    world.fault("book_ids value=5")
    world.until(
        "the book goes on with the new ids",
        lambda: world.books[world.symbol].shown and world.books[world.symbol].sync.last_update_id < before,
    )
    world.expect_undisturbed(*world.symbols[1:])


def refused(world: VenueWorld) -> None:
    """One book is refused on new sockets, for a while."""
    world.start()
    number = world.fault("refuse_stream", of_depth=True)
    world.reset()
    world.until("the refusal is known by name", lambda: bool(world.refusals.names()))
    others = [world.books[symbol] for symbol in world.symbols[1:]]
    world.until("the other books are shown", lambda: all(book.shown for book in others))
    losses, replaced = [book.losses for book in others], world.replaced
    world.run(WHILE_S)
    world.expect(losses == [book.losses for book in others], "another book left sync for it.")
    world.expect(world.replaced == replaced, "a socket was replaced for it.")
    world.remove(number)
    world.until("nothing is refused any more", lambda: not world.refusals.names())


def ended_with_notice(world: VenueWorld) -> None:
    """The exchange announces the end of its sockets, where it has words for that, and closes them."""
    world.start()
    sockets = list(world.sockets)
    announced = [socket.announce_end() for socket in sockets]
    if not all(announced):
        world.reset()
    world.until("every socket has a successor", lambda: not set(sockets) & set(world.sockets))


def maintained(world: VenueWorld) -> None:
    """The exchange tells of its maintenance, where it has words for that, and later that it is over."""
    world.start()
    sockets = list(world.sockets)
    if not world.maintain("maintenance"):
        return
    books = list(world.books.values())
    world.until("every book has left sync", lambda: all(book.losses for book in books))
    world.run(WHILE_S)
    if sockets == world.sockets:  # who keeps the socket waits there for the end
        world.expect(not any(book.shown for book in books), "a book was shown as if nothing were.")
    world.maintain("maintenance value=1")
    world.until("every book is shown again", world.all_shown)
    world.expect(all(book.losses == 1 for book in books), "a book left sync more than once.")


def reconnected(world: VenueWorld) -> None:
    """All sockets are cut, again and again."""
    world.start()
    for _ in range(3):
        world.reset()
        world.until("every book is shown", world.all_shown)
        world.run(1.0)


def asked_without_need(world: VenueWorld) -> None:
    """Whole books are asked for while all is well, again and again."""
    world.start()
    for _ in range(3):
        for socket in world.sockets:
            socket.streams.renew([("depth", symbol) for symbol in world.symbols])
        world.run(1.0)
    world.until("every book is shown", world.all_shown)
