"""Who may ask: the names this server answers to, pages of other sites, and tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from hashlib import sha256

import pytest
from aiohttp import WSServerHandshakeError
from aiohttp.test_utils import TestClient
from test_server import PATHS, serving, settings

from workers.api.security.access import Access
from workers.errors import SettingsError
from workers.model.host_names import host_of, is_loopback_host
from workers.settings.api import ApiSettings

TOKEN = "a-secret-of-the-test"
DIGEST = sha256(TOKEN.encode()).hexdigest()
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
async def api(real_server: str) -> AsyncIterator[TestClient]:  # type: ignore[type-arg]
    async for client in serving(real_server, settings(hosts=["fleet.example"])):
        yield client


@pytest.fixture
async def locked(real_server: str) -> AsyncIterator[TestClient]:  # type: ignore[type-arg]
    chosen = settings(token_sha256=["0" * 64, DIGEST.upper()], cors_origins=["https://example.org"])
    async for client in serving(real_server, chosen):
        yield client


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost:8080", "localhost"),
        ("LOCALHOST.", "localhost"),
        ("[::1]:8080", "::1"),
        ("::1", "::1"),
        ("127.0.0.1:5", "127.0.0.1"),
        ("Evil.Example:80", "evil.example"),
        ("", ""),
    ],
)
def test_the_name_in_a_host_header(host: str, name: str) -> None:
    assert host_of(host) == name


@pytest.mark.parametrize(
    "host", ["localhost", "x.localhost", "127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"]
)
def test_what_only_this_machine_reaches(host: str) -> None:
    assert is_loopback_host(host)


@pytest.mark.parametrize(
    "host", ["", "0.0.0.0", "::", "10.0.0.1", "example.org", "localhost.evil.example", "127.evil"]
)
def test_what_others_reach_needs_a_lock(host: str) -> None:
    assert not is_loopback_host(host)
    with pytest.raises(SettingsError, match=r"set api\.token_sha256, or api\.open = true"):
        Access(ApiSettings(host=host))
    assert not Access(ApiSettings(host=host, open=True)).is_locked
    assert Access(ApiSettings(host=host, token_sha256=[DIGEST])).is_locked


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:99", "[::1]", "fleet.example", "FLEET.example:443"])
async def test_our_own_names_are_answered(api: TestClient, host: str) -> None:  # type: ignore[type-arg]
    assert (await api.get("/symbols", headers={"Host": host})).status == 200
    await (await api.ws_connect("/ws", headers={"Host": host})).close()


@pytest.mark.parametrize(
    "path", [*PATHS, "/", "/dashboard/app.js", "/sse", "/ws", "/metrics", "/healthz", "/nothing"]
)
async def test_other_names_are_answered_nothing(api: TestClient, path: str) -> None:  # type: ignore[type-arg]
    for host in ("evil.example", f"evil.example:{api.port}", "127.0.0.1.evil.example", "10.0.0.7", ""):
        refused = await api.get(path, headers={"Host": host})
        assert (refused.status, refused.content_type) == (421, "application/problem+json")
        assert "api.hosts" in (await refused.json())["detail"]


async def test_a_page_of_another_name_gets_no_socket(api: TestClient) -> None:  # type: ignore[type-arg]
    """DNS rebinding: name and origin agree with each other, but not with us."""
    for headers, status in (
        ({"Host": "evil.example", "Origin": "http://evil.example"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ):
        with pytest.raises(WSServerHandshakeError) as refused:
            await api.ws_connect("/ws", headers=headers)
        assert refused.value.status == status


async def test_nothing_is_taken_for_what_it_does_not_say_it_is(api: TestClient) -> None:  # type: ignore[type-arg]
    for path in [
        *PATHS,
        "/",
        "/openapi.json",
        "/docs",
        "/metrics",
        "/nothing",
        "/dashboard/app.js",
        "/orderbook?depth=x",
    ]:
        assert (await api.get(path)).headers["X-Content-Type-Options"] == "nosniff", path
    async with api.get("/sse?channel=trades&symbols=BTCUSDT") as events:
        assert events.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "path", [*PATHS, "/metrics", "/sse?channel=trades&symbols=BTCUSDT", "/ws", "/nothing"]
)
async def test_without_the_token_nothing_is_told(locked: TestClient, path: str) -> None:  # type: ignore[type-arg]
    for headers in (
        {},
        {"Authorization": "Bearer x"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": "Bearer"},
    ):
        refused = await locked.get(path, headers=headers)
        assert (refused.status, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert refused.content_type == "application/problem+json"
    assert (await locked.get(f"{path}{'&' if '?' in path else '?'}token={TOKEN}")).status == 401


async def test_with_the_token_everything_is(locked: TestClient) -> None:  # type: ignore[type-arg]
    for path in ("/symbols", "/trades", "/metrics"):
        assert (await locked.get(path, headers=BEARER)).status == 200
    for path in ("/", "/dashboard/app.js", "/docs", "/openapi.json"):
        assert (await locked.get(path)).status == 200, "these tell nothing of the market"
    described = await (await locked.get("/openapi.json")).json()
    assert described["paths"]["/symbols"]["get"]["security"] == [{"token": []}]


async def test_a_browser_brings_the_token_as_a_protocol(locked: TestClient) -> None:  # type: ignore[type-arg]
    await (await locked.ws_connect("/ws", headers=BEARER)).close()
    async with locked.ws_connect("/ws", protocols=["marketfleet", f"bearer.{TOKEN}"]) as socket:
        assert socket.protocol == "marketfleet", "the token is not repeated"
        await socket.send_json({"op": "ping", "id": 1})
        assert (await socket.receive_json())["type"] == "pong"
    for protocols in ([], ["marketfleet"], ["marketfleet", "bearer.x"]):
        with pytest.raises(WSServerHandshakeError) as refused:
            await locked.ws_connect("/ws", protocols=protocols)
        assert refused.value.status == 401


async def test_a_page_of_an_allowed_origin_may_ask_first_and_bring_the_token(locked: TestClient) -> None:  # type: ignore[type-arg]
    headers = {"Origin": "https://example.org", "Access-Control-Request-Method": "GET"}
    first = await locked.options("/trades", headers=headers)
    assert first.status == 204
    assert "Authorization" in first.headers["Access-Control-Allow-Headers"]
