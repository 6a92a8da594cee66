"""Sockets and REST through a proxy: that of the venue's settings, or that of the environment."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import aiohttp.connector
import pytest
from aiohttp import web
from in_process import KEYS, Fleet, fleet_of
from proxy_world import NAME, Proxy, proxy, terminator
from structlog.testing import capture_logs

from workers.errors import RestUnavailable, SettingsError
from workers.operations.doctor.exchange import exchange_findings
from workers.runtime.context import venue_contexts
from workers.runtime.proxies import Sessions, open_session, proxy_for
from workers.runtime.rest_reply import fetch
from workers.settings.loading import Effective, parse
from workers.venues.binance.settings import BinanceSettings
from workers.venues.requests import RestRequest

VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
BINANCE = "wss://fstream.binance.com/market/stream"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("url", "variables", "expected"),
    [
        (BINANCE, {}, ""),
        (BINANCE, {"HTTPS_PROXY": "http://p:3128"}, "http://p:3128"),
        ("https://fapi.binance.com/x", {"https_proxy": "p:3128"}, "http://p:3128"),
        ("ws://a.example/x", {"HTTP_PROXY": "http://p:1", "HTTPS_PROXY": "http://q:1"}, "http://p:1"),
        (BINANCE, {"HTTP_PROXY": "http://p:3128"}, ""),
        (BINANCE, {"ALL_PROXY": "socks5://p:1080"}, "socks5://p:1080"),
        (BINANCE, {"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "a.b, .binance.com"}, ""),
        (BINANCE, {"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "notbinance.com"}, "http://p:3128"),
        (BINANCE, {"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "*"}, ""),
        ("ws://127.0.0.1:7400/usdm", {"HTTP_PROXY": "http://p:3128"}, ""),
        ("http://localhost:7400/usdm", {"ALL_PROXY": "http://p:3128"}, ""),
        ("http://[::1]:7400/usdm", {"ALL_PROXY": "http://p:3128"}, ""),
    ],
)
def test_the_environment_says_by_which_way(
    url: str, variables: dict[str, str], expected: str, environment: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)
    assert proxy_for(url, "") == expected
    assert proxy_for(url, "direct") == ""
    assert proxy_for(url, "http://mine:1") == "http://mine:1"


@pytest.mark.parametrize(
    "given", ["direct", "http://h:1", "https://u:p@h", "socks5://h:1080", "socks5h://h:1"]
)
def test_a_proxy_of_the_settings(given: str) -> None:
    text = f'[venues.usdm]\nmarket = "usdm"\nsymbols = ["BTCUSDT"]\nproxy = "{given}"\n'
    assert parse(text, "t", {}).settings.venues["usdm"].proxy == given


@pytest.mark.parametrize(
    "given", ["dirct", "p:3128", "ftp://p", "http://", "http://p:x", "http://u:secret@p:99999"]
)
def test_a_proxy_that_cannot_be_one_is_refused_without_its_password(given: str) -> None:
    text = f'[venues.usdm]\nmarket = "usdm"\nsymbols = ["BTCUSDT"]\nproxy = "{given}"\n'
    with pytest.raises(SettingsError, match=r"venues\.usdm\.proxy") as raised:
        parse(text, "t", {})
    assert "secret" not in str(raised.value)


def test_its_password_is_not_shown() -> None:
    text = '[venues.usdm]\nmarket = "usdm"\nsymbols = ["BTCUSDT"]\nproxy = "http://me:secret@p:3128"\n'
    rows = {name: value for name, value, _ in parse(text, "t", {}).rows()}
    assert rows["venues.usdm.proxy"] == "http://me:***@p:3128"


async def fed(fleet: Fleet, through: Proxy) -> None:
    """Run lines, books and trades; everything must come by the proxy."""
    for role in ("ingest-a", "books", "trades"):
        fleet.start(role, role)
    await fleet.until(fleet.all_shown)
    await fleet.check_books()
    assert await fleet.client.xlen(KEYS.raw(fleet.symbols[0], "aggTrade")) > 0
    assert through.targets


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_a_fleet_behind_a_proxy_of_its_settings(real_server: str, scheme: str) -> None:
    with capture_logs() as logs:
        async with (
            proxy(scheme, "me:secret") as through,
            fleet_of(real_server, symbols=["BTCUSDT"], venue={"proxy": through.url}) as fleet,
        ):
            await fed(fleet, through)
            port = urlsplit(fleet.exchange.url).port
            if scheme == "http":
                assert any(f"GET ws://127.0.0.1:{port}/usdm/public/" in one.replace("http:", "ws:")
                           for one in through.targets)  # fmt: skip
                assert any("/usdm/fapi/v1/depth" in one for one in through.targets)
            else:
                assert set(through.targets) == {f"SOCKS 127.0.0.1:{port}"}
    assert "proxy_used" in {entry["event"] for entry in logs}
    assert "secret" not in repr(logs)


def certified(folder: Path) -> tuple[str, str]:
    """A certificate for the name, by itself, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    certificate, key = str(folder / "cert.pem"), str(folder / "key.pem")
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out", certificate,
         "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


async def test_a_fleet_behind_a_proxy_of_the_environment_with_tls(
    real_server: str, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As it is in the world: CONNECT to a host only the proxy can resolve, and TLS inside."""
    certificate, key = certified(tmp_path)
    aiohttp.connector._SSL_CONTEXT_VERIFIED.load_verify_locations(certificate)
    async with proxy() as through, fleet_of(real_server, symbols=["BTCUSDT"]) as fleet:
        port = urlsplit(fleet.exchange.url).port
        assert port is not None
        async with terminator(port, certificate, key) as secure:
            environment.setenv("HTTPS_PROXY", through.url)
            venue = fleet.settings.venues["usdm"]
            venue.websocket_url, venue.rest_url = (
                f"wss://{NAME}:{secure}/usdm",
                f"https://{NAME}:{secure}/usdm",
            )
            await fed(fleet, through)
            assert set(through.targets) == {f"CONNECT {NAME}:{secure}"}
            findings = await exchange_findings(Effective(fleet.settings))
            assert {finding.level for finding in findings} == {"ok"}
            environment.setenv("NO_PROXY", NAME)
            findings = await exchange_findings(Effective(fleet.settings))
            assert "problem" in {finding.level for finding in findings}, "only the proxy knows that host"


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_a_proxy_that_refuses_us_is_an_error_of_the_connection(scheme: str) -> None:
    async with proxy(scheme, "me:secret") as through:
        wrong = through.url.replace("secret", "mistaken")
        async with open_session(wrong) as session:
            for url in ("http://127.0.0.1:1/", "https://127.0.0.1:1/"):
                with pytest.raises((aiohttp.ClientError, OSError)) as raised:
                    async with session.get(url) as reply:
                        reply.raise_for_status()
                assert "mistaken" not in str(raised.value)
                with pytest.raises((aiohttp.ClientError, OSError)):
                    await session.ws_connect(url.replace("http", "ws"))


async def test_a_socks_proxy_that_is_away_is_an_error_of_the_connection() -> None:
    async with open_session("socks5://127.0.0.1:1") as session:
        with pytest.raises(RestUnavailable):
            await fetch(session, RestRequest("http://127.0.0.1:1/", 1, "p", 65_536), 30)
        with pytest.raises(aiohttp.ClientError):
            await session.ws_connect("ws://127.0.0.1:1/")


@pytest.mark.parametrize(
    "value",
    ["http://h:99999", "http://[::1", "http://h:port", "http://", "://", "ftp://h:1", "http://h/path", "h:x"],
)
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "all_proxy"])
def test_a_proxy_of_the_environment_that_is_none_is_named(
    name: str, value: str, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv(name, value)
    with pytest.raises(SettingsError, match=name.upper()):
        proxy_for(BINANCE, "")
    assert proxy_for(BINANCE, "direct") == ""


async def test_what_a_reply_sets_goes_out_with_no_other_request() -> None:
    cookies: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        cookies.append(request.headers.get("Cookie"))
        reply = web.Response(text="{}")
        for number in range(20):
            reply.set_cookie(f"c{number}", "x" * 3000)
        return reply

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        async with open_session("") as session:
            request = RestRequest(f"http://localhost:{port}/", 1, "p", 65_536)
            for _ in range(2):
                assert (await fetch(session, request, 30)).status == 200
    finally:
        await runner.cleanup()
    assert cookies == [None, None]


async def test_venues_have_each_their_own_way(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HTTPS_PROXY", "http://everybody:1")
    texts = {"usdm": "http://mine:1", "coinm": "direct", "spot": ""}
    venues = {
        name: BinanceSettings(market=name, symbols=["A"], proxy=given)  # type: ignore[arg-type] -- market names
        for name, given in texts.items()
    }
    settings = parse('[venues.usdm]\nmarket = "usdm"\nsymbols = ["A"]\n', "t", {}).settings
    settings.venues = venues
    async with Sessions() as sessions:
        usdm, coinm, spot = venue_contexts(settings)
        assert len({id(sessions.rest(one)) for one in (usdm, coinm, spot)}) == 3
        assert sessions.rest(usdm) is sessions.sockets(usdm)
    assert all(session.closed for session in sessions._by_proxy.values())
    assert set(sessions._by_proxy) == {"http://mine:1", "", "http://everybody:1"}
    async with Sessions(direct=True) as sessions:
        assert sessions.rest(usdm) is sessions.rest(spot)
    await asyncio.sleep(0)
