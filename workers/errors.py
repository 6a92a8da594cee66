"""Every error the project raises, in one tree.

FleetError
├── SettingsError          a setting is unknown, of the wrong type or out of range
├── WireError              an exchange sent something that cannot be used
│   ├── MalformedFrame     not JSON, not the expected object, or a field out of range
│   └── BadNumber          a price or quantity that is no usable decimal number
├── RestError              a REST request did not give a usable answer
│   ├── RateLimited        429, 418, or words to that effect: nobody may ask before `retry_after_s`
│   ├── RequestRefused     another 4xx: asking again would not help
│   ├── NotServed          the venue's REST has no such request
│   └── RestUnavailable    5xx, timeout, connection refused, truncated reply: ask again later
├── StoreError             Redis could not do what was asked
│   ├── AddressUnusable    a URL that names no Redis server
│   ├── ServerNotFound     no Redis server to run and no REDIS_URL
│   ├── ServerTooOld       the server lacks commands of Redis 7.0
│   ├── LeaseLost          another worker owns the symbol now
│   ├── OtherMarket        the keys of a section of the settings hold another market
│   ├── OffsetMoved        the archive of a stream stands elsewhere than its owner knows
│   ├── ScriptUnreadable   a Lua script of this installation cannot be put together
│   ├── StateUnreadable    a checkpoint or state key cannot be decoded
│   ├── BookWithheld       the book cannot be trusted now
│   └── SecondUnknown      the book of a past second is not known
├── WorkHung               a work of a role finishes nothing any more
├── RequestProblem         a request of the API cannot be answered, and why
│   ├── NotKnown           404: no such venue, symbol, second or level
│   ├── TokenNeeded        401: no token, or one that is not known
│   ├── OriginRefused      403: a page of another site
│   ├── WrongHost          421: a name this server does not answer to
│   ├── BadInput           422: a parameter or a body that cannot be used
│   ├── BookNotServed      503: the book is not in sync, so there is nothing true to say
│   ├── OrdersNotServed    503: the single orders are not in sync
│   ├── Unhealthy          503: nothing that is live can be served
│   └── TryLater           503: Redis, the archive or the time ran out
├── SymbolError            a text names no symbol that can be asked about
│   ├── UnknownVenue       the settings have no such section
│   ├── InvalidSymbol      no symbol is written like that
│   └── UnknownSymbol      the fleet does not follow it, or its exchange does not list it
├── RecordingError         a capture file cannot be read at some line
├── ArchiveUnreadable      a file of the archive is damaged or of another format
├── SchemaTooNew           a later release has made the tables of the PostgreSQL sink
├── ExtraMissing           an optional package is not installed
├── TokenUnusable          a resume token cannot be used
└── CommandError           the command line cannot do what was asked
    └── WrongArgument      an argument names nothing there is
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from workers.extras import install_command
from workers.masking import mask, mask_address
from workers.plain_text import plain

MOST_SHOWN: Final = 1_000
"""How many characters a sentence has of what is wrong with a setting, and of where it stands."""
MOST_NAMED: Final = 20
"""How many of the names there are a sentence lists."""


class FleetError(Exception):
    """Base of all errors raised by the project."""


class SettingsError(FleetError):
    """A setting is unknown, of the wrong type or out of range."""

    def __init__(self, place: str, problem: str, suggestion: str = "") -> None:
        self.place = place
        hint = f" Did you mean {suggestion!r}?" if suggestion else ""
        super().__init__(f"{plain(place, MOST_SHOWN)}: {plain(problem, MOST_SHOWN)}.{hint}")


class WireError(FleetError):
    """An exchange sent something that cannot be used; the frame is dropped and counted."""


class MalformedFrame(WireError):
    """A frame is not JSON, not the expected object, or has a field out of range."""

    def __init__(self, venue: str, place: str, problem: str, excerpt: bytes = b"") -> None:
        super().__init__(f"{venue} sent an unusable {place}: {problem}; it begins {excerpt[:120]!r}.")


class BadNumber(WireError):
    """A price or quantity is not a finite, non-negative decimal of at most 15 significant digits."""

    def __init__(self, text: str, place: str) -> None:
        self.text = text[:40]
        self.place = place
        super().__init__(f"{place} is {self.text!r}, which is no usable decimal number.")


class RestError(FleetError):
    """A REST request did not give a usable answer."""

    def __init__(self, url: str, status: int, problem: str) -> None:
        self.status = status
        self.problem = problem
        super().__init__(f"GET {mask(url)} gave status {status}: {problem}.")


class RateLimited(RestError):
    """Status 429 or 418, or words to that effect: no request may be sent from this address before `retry_after_s`."""

    def __init__(self, url: str, status: int, retry_after_s: float, problem: str) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(url, status, f"{problem}; wait {retry_after_s:g} s")


class RequestRefused(RestError):
    """A 4xx other than 429 and 418: the same request would be refused again."""


class NotServed(RestError):
    """The venue's REST has no such request: only its streams can tell."""

    def __init__(self, venue: str, what: str) -> None:
        super().__init__(venue, 0, f"its REST does not serve {what}")


class RestUnavailable(RestError):
    """A 5xx, a timeout, a refused connection or a truncated reply (status 0 when there was none)."""


class StoreError(FleetError):
    """Redis could not do what was asked."""


class AddressUnusable(StoreError):
    """A URL that names no Redis server, or asks for what the fleet cannot do."""

    def __init__(self, url: str, problem: str, suggestion: str = "") -> None:
        self.url = mask_address(url)
        self.problem = problem
        self.suggestion = suggestion
        hint = f" Did you mean {suggestion!r}?" if suggestion else ""
        super().__init__(f"The address {self.url} cannot be used: {problem}.{hint}")


class ServerNotFound(StoreError):
    """There is no Redis server to run and no REDIS_URL."""

    def __init__(self, looked_for: str) -> None:
        super().__init__(f"No Redis server found (looked for {looked_for}): set REDIS_URL or install one.")


class ServerTooOld(StoreError):
    """The server is older than Redis 7.0."""

    def __init__(self, where: str, version: str) -> None:
        super().__init__(f"The Redis server at {where} is version {version}; 7.0 or newer is needed.")


class OtherMarket(StoreError):
    """The keys of a section of the settings hold another market."""

    def __init__(self, prefix: str, section: str, stored: str, wanted: str) -> None:
        super().__init__(
            f"The keys {prefix}raw:{{…}} hold {stored}; by the settings they are those of [venues.{section}], "
            f"{wanted}, and two markets in one stream cannot be told apart. Set FLEET_HOME to another folder, or name "
            "another database; or give that market its place among the sections back: the first one has no prefix, the "
            "others their name."
        )


class LeaseLost(StoreError):
    """Another worker owns the symbol now; what this worker holds of it must be forgotten."""

    def __init__(self, symbol: str, token: int) -> None:
        super().__init__(f"The lease of {symbol} with fencing number {token} is no longer ours.")


class WorkHung(FleetError):
    """A work of a role has finished nothing for many lease lengths; what it owns must become another's."""

    def __init__(self, work: str) -> None:
        super().__init__(f"The {work} hangs: no piece of it was finished for too long.")


class OffsetMoved(StoreError):
    """The archive of a stream stands elsewhere than its owner knows; the owner looks again."""

    def __init__(self, key: str, expected: str) -> None:
        super().__init__(f"The archive of {key} does not stand at {expected or 'its beginning'}.")


class ScriptUnreadable(StoreError):
    """A Lua script of this installation cannot be put together."""

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(f"{place}: {problem}.")


class StateUnreadable(StoreError):
    """A key holds what its reader cannot use: its symbol alone suffers, until it can be made anew."""

    def __init__(self, key: str, problem: str) -> None:
        self.key = key
        self.problem = problem
        self.cure = f"DEL {key}"
        """What lets the fleet make it anew, where it does not do so by itself."""
        super().__init__(f"Key {key} cannot be decoded: {problem}.")


class BookWithheld(StoreError):
    """The book of a symbol cannot be trusted now, so there is nothing to show."""

    def __init__(self, symbol: str, state: str, reason: str, of: str = "") -> None:
        self.symbol = symbol
        self.state = state
        self.reason = reason
        why = f" ({reason})" if reason else ""
        super().__init__(f"The book of {of}{symbol} is withheld: {state}{why}.")


class RequestProblem(FleetError):
    """A request of the API cannot be answered; what the client is told (RFC 9457).

    Args:
        title: what is wrong, in a few words.
        detail: what to do about it.
        where: the place in the request, such as `query.depth`; empty where there is none.
    """

    status = 500

    def __init__(self, title: str, detail: str, where: str = "") -> None:
        self.title = title
        self.detail = detail
        self.where = where
        super().__init__(f"{title}: {detail}")


class NotKnown(RequestProblem):
    """There is no such venue, symbol, second or level."""

    status = 404


class BadInput(RequestProblem):
    """A parameter or a body cannot be used."""

    status = 422


class TokenNeeded(RequestProblem):
    """The request brings no token that is known."""

    status = 401


class OriginRefused(RequestProblem):
    """A page of another site wants to connect."""

    status = 403


class WrongHost(RequestProblem):
    """The request is for a server of a name that is not known to be ours."""

    status = 421


class BookNotServed(RequestProblem):
    """The book of a symbol is not in sync: nothing true can be said of it now."""

    status = 503

    def __init__(self, venue: str, symbol: str, state: str, reason: str) -> None:
        self.state = state
        self.reason = reason
        why = f"its state is {state!r}" + (f", because of {reason!r}" if reason else "")
        detail = f"{why}; try again, or follow GET /status"
        super().__init__(f"The book of {symbol} at {venue} is withheld", detail)


class OrdersNotServed(RequestProblem):
    """The single orders of a symbol are not in sync: nothing true can be said of them now."""

    status = 503


class Unhealthy(RequestProblem):
    """Nothing that is live can be served now."""

    status = 503

    def __init__(self, reasons: Sequence[str]) -> None:
        self.reasons = list(reasons)
        super().__init__("The fleet is down", "; ".join(reasons))


class TryLater(RequestProblem):
    """Redis or the archive did not answer, or the answer took too long."""

    status = 503


class SecondUnknown(StoreError):
    """The book of a second is not known: it was withheld then, is too old, or not over yet."""

    def __init__(self, symbol: str, second: int, reason: str) -> None:
        self.symbol = symbol
        self.second = second
        self.reason = reason
        super().__init__(f"The book of {symbol} at second {second} is not known: {reason}.")


class SymbolError(FleetError):
    """A text names no symbol that can be asked about."""


class UnknownVenue(SymbolError):
    """The settings have no section of that name.

    Args:
        known: the sections there are.
        near: those whose names are like it, the most alike first.
    """

    def __init__(self, venue: str, known: Sequence[str], near: Sequence[str] = ()) -> None:
        self.venue = venue
        self.problem = f"There is no venue {venue!r}"
        self.hint = f"there are {', '.join(known)}" + (f". Did you mean {near[0]!r}?" if near else "")
        super().__init__(f"{self.problem}; {self.hint}" + ("" if near else "."))


class InvalidSymbol(SymbolError):
    """No symbol is written like that."""

    def __init__(self, text: str, problem: str) -> None:
        self.text = text[:80]
        self.problem = problem
        super().__init__(f"{self.text!r} names no symbol: {problem}. Write one like BTCUSDT or spot:BTCUSDT.")


class UnknownSymbol(SymbolError):
    """The fleet does not follow a symbol, or the exchange does not list it.

    Args:
        near: names of followed symbols that are like it, the most alike first.
        listed: whether the exchange lists it; None where that is not known.
    """

    def __init__(
        self, venue: str, symbol: str, near: Sequence[str] = (), *, listed: bool | None = None
    ) -> None:
        self.venue = venue
        self.symbol = symbol
        self.near = tuple(near)
        self.problem = f"{symbol} is not followed at {venue}"
        if listed is False:
            self.problem = f"the exchange of {venue} does not list {symbol}"
        self.hint = f"the nearest names: {', '.join(near)}" if near else "no name is near to it"
        super().__init__(f"{self.problem[0].upper()}{self.problem[1:]}; {self.hint}.")


class RecordingError(FleetError):
    """A capture file cannot be read at some line, or as a whole (line 0)."""

    def __init__(self, path: str, line: int, problem: str) -> None:
        self.path = path
        self.line = line
        self.problem = problem
        super().__init__(f"{path}, line {line}: {problem}." if line else f"{path}: {problem}.")


class ArchiveUnreadable(FleetError):
    """A file of the archive is damaged or of another format."""

    def __init__(self, path: str, problem: str) -> None:
        self.problem = problem
        super().__init__(f"Archive file {path} cannot be used: {problem.rstrip('.')}.")


class SchemaTooNew(FleetError):
    """A later release has made the tables of the PostgreSQL sink."""

    def __init__(self, schema: str, version: int, known: int) -> None:
        super().__init__(
            f"The schema {schema!r} has version {version}, and this release knows {known}: run the later release."
        )


class ExtraMissing(FleetError):
    """An optional package is not installed."""

    def __init__(self, what: str, package: str, extra: str) -> None:
        super().__init__(f"{what} need {package}, which is not installed: {install_command(extra)}")


class TokenUnusable(FleetError):
    """A resume token is damaged, or of another channel or version."""

    def __init__(self, token: str, problem: str) -> None:
        super().__init__(f"The resume token {token[:80]!r} cannot be used: {problem}.")


class CommandError(FleetError):
    """The command line cannot do what was asked."""


class WrongArgument(CommandError):
    """An argument of the command line names nothing there is, such as an unknown symbol."""

    def __init__(self, problem: str, known: Sequence[str] = (), meant: str = "") -> None:
        names = ", ".join(known[:MOST_NAMED]) + " …" * (len(known) > MOST_NAMED)
        hint = f" Did you mean {meant!r}?" if meant else ""
        super().__init__(problem + (f"; there are {names}." if known else ".") + hint)
