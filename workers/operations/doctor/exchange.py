"""What the doctor finds at the exchange: whether it can be reached, and what time it is there."""

from __future__ import annotations

import asyncio
import time
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import aiohttp

from workers.errors import MalformedFrame, RestUnavailable
from workers.operations.doctor.findings import Finding
from workers.runtime.context import VenueContext, venue_contexts
from workers.runtime.proxies import Sessions
from workers.runtime.rest_reply import fetch, printable
from workers.settings.loading import Effective
from workers.settings.schema import Settings
from workers.venues.requests import RestRequest

PATIENCE_S: Final = 8.0
TRIES: Final = 3
"""The quickest answer tells the time best."""
OFFSET_MS: Final = 500
"""A clock further off makes ages and latencies wrong enough to mislead."""
BAD_OFFSET_MS: Final = 10_000

RESTRICTED: Final = "The exchange does not serve the place this machine's address belongs to (HTTP 451)."
RESTRICTED_SPOT: Final = (
    'Spot market data is served elsewhere too: set venues.{name}.rest_url = "https://data-api.binance.vision" and '
    'venues.{name}.websocket_url = "wss://data-stream.binance.vision".'
)
RESTRICTED_FUTURES: Final = "There is no other address for futures: run the fleet in another region."
REFUSED: Final = {
    403: (
        "A firewall of the exchange refuses this address.",
        "Wait some minutes; look for a proxy or VPN between.",
    ),
    404: (
        "There is no such path at this host.",
        "Look at rest_url, websocket_url and the paths of the venue.",
    ),
    418: ("This address is banned for asking too much.", "Start nothing until Retry-After is over."),
    429: ("This address has asked too much this minute.", "Wait a minute; lower venues.*.weight_share."),
}


class _Reply(NamedTuple):
    """What an address answered: a status (0: none), the offset of its clock, or why there is none."""

    status: int
    offset_ms: float | None
    round_trip_ms: float
    problem: str
    step_ms: int = 1
    """What its time is rounded down to."""

    @property
    def uncertainty_ms(self) -> float:
        """By how much the offset may be wrong."""
        return (self.round_trip_ms + self.step_ms - 1) / 2


async def exchange_findings(effective: Effective) -> list[Finding]:
    """Reachability and clock of every venue; asks for the time a few times and opens each socket once."""
    async with Sessions(timeout_s=PATIENCE_S) as sessions:
        contexts = venue_contexts(effective.settings)
        found = await asyncio.gather(*(_venue(sessions, effective.settings, one) for one in contexts))
    return [finding for findings in found for finding in findings]


async def _venue(sessions: Sessions, settings: Settings, context: VenueContext) -> list[Finding]:
    request = context.venue.time_request() or context.venue.info_request()
    url = request.url
    symbols = list(context.symbols)[:1] or ["BTCUSDT"]
    sockets = [endpoint.url for endpoint in context.venue.endpoints(symbols)]
    asked, *opened = await asyncio.gather(
        _time(sessions.rest(context), context, request),
        *(_socket(sessions.sockets(context), socket) for socket in sockets),
    )
    findings = [_reached(context, "REST", url, asked)]
    findings += [
        _reached(context, "socket", socket, one) for socket, one in zip(sockets, opened, strict=True)
    ]
    if asked.offset_ms is not None:
        findings.append(_clock(settings, context, asked.offset_ms, asked.uncertainty_ms))
    return findings


async def _time(session: aiohttp.ClientSession, context: VenueContext, request: RestRequest) -> _Reply:
    best = _Reply(0, None, float("inf"), "")
    for _ in range(TRIES):
        began, started = time.time() * 1000, time.monotonic()
        try:
            reply = await fetch(session, request, PATIENCE_S)
        except RestUnavailable as error:
            return _Reply(0, None, 0.0, error.problem)
        status, body = reply.status, reply.body
        if status != 200:
            code, message = context.venue.error_of(body)
            said = f", code {code}: {printable(message)}" if message else ""
            if place := reply.headers.get("Location"):
                said = f", it sends on to {printable(place)}"
            return _Reply(status, None, 0.0, f"status {status}{said}")
        took = (time.monotonic() - started) * 1000
        if context.venue.time_request() is None:
            return _Reply(status, None, took, "")  # it shows no clock
        try:
            theirs = context.venue.time_ms(body)
        except MalformedFrame as error:
            return _Reply(status, None, 0.0, str(error))
        if took < best.round_trip_ms:
            step_ms = context.venue.facts.clock_step_ms
            best = _Reply(status, theirs + (step_ms - 1) / 2 - (began + took / 2), took, "", step_ms)
    return best


async def _socket(session: aiohttp.ClientSession, url: str) -> _Reply:
    started = time.monotonic()
    try:
        async with asyncio.timeout(PATIENCE_S), session.ws_connect(url):
            return _Reply(101, None, (time.monotonic() - started) * 1000, "")
    except aiohttp.WSServerHandshakeError as error:
        return _Reply(error.status, None, 0.0, f"status {error.status}")
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        return _Reply(0, None, 0.0, str(error) or f"no answer within {PATIENCE_S:g} s")


def _reached(context: VenueContext, what: str, url: str, reply: _Reply) -> Finding:
    name = f"{context.name} {what}"
    if not reply.problem:
        took = reply.round_trip_ms
        return Finding(
            name, "ok", f"{url} in {took:.0f} ms", details={"url": url, "round_trip_ms": round(took, 1)}
        )
    details = {"url": url, "status": reply.status}
    found = f"{url}: {reply.problem}"
    if reply.status == 451:
        spot = context.settings.market == "spot"
        do = RESTRICTED_SPOT.format(name=context.name) if spot else RESTRICTED_FUTURES
        return Finding(name, "problem", found, RESTRICTED, do, details)
    if reply.status in REFUSED:
        return Finding(name, "problem", found, *REFUSED[reply.status], details)
    if reply.status:
        means = "The exchange answers, but not with what the fleet needs."
        return Finding(
            name, "problem", found, means, "Try again later; look at the exchange's status page.", details
        )
    host = urlsplit(url).hostname or url
    do = f"Look at network, DNS, firewall and proxy: curl -sv {urlsplit(url).scheme.replace('ws', 'http')}://{host}/"
    return Finding(name, "problem", found, "Nothing comes from this venue.", do, details)


def _clock(settings: Settings, context: VenueContext, offset_ms: float, uncertainty_ms: float) -> Finding:
    name = f"{context.name} clock"
    side = "ahead of" if offset_ms < 0 else "behind"
    found = f"this clock is {abs(offset_ms):.0f} ms {side} the exchange's (± {uncertainty_ms:.0f} ms)"
    details = {"offset_ms": round(offset_ms, 1), "uncertainty_ms": round(uncertainty_ms, 1)}
    certain = max(0.0, abs(offset_ms) - uncertainty_ms)
    if certain < OFFSET_MS:
        return Finding(name, "ok", found, details=details)
    means = "Ages and latencies are wrong by as much; stale books look fresh, or fresh ones stale."
    if offset_ms > 0 and certain > settings.ingest.max_clock_ahead_ms:
        means = "Every event looks as if it came from the future, and is dropped as malformed."
    do = "Let the system keep the time: timedatectl set-ntp true, or start chrony."
    return Finding(name, "problem" if certain >= BAD_OFFSET_MS else "warning", found, means, do, details)
