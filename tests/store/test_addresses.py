"""Forms of Redis URLs: they work, or are refused with a sentence; and no secret of one is ever shown."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from workers.errors import AddressUnusable, RestUnavailable, SettingsError
from workers.masking import mask
from workers.settings.addresses import address_of
from workers.settings.loading import parse
from workers.settings.proxies import check_proxy
from workers.store.connection import connect, connect_reader
from workers.store.log.streams import GroupReader, RawEntry, RawStreams

LOCAL = {"host": "localhost", "port": 6379}


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("redis://", LOCAL),
        ("redis://h", {"host": "h", "port": 6379}),
        ("redis://h:7000/3", {"host": "h", "port": 7000, "db": 3}),
        ("redis://h/?db=4", {"host": "h", "port": 6379, "db": 4}),
        ("rediss://h/1", {"host": "h", "port": 6379, "db": 1}),
        ("redis://[::1]:7000", {"host": "::1", "port": 7000}),
        ("redis://user:p%2Fw@h", {"host": "h", "port": 6379, "username": "user", "password": "p/w"}),
        ("redis://:p@ss@h", {"host": "h", "port": 6379, "password": "p@ss"}),
        ("redis://h?username=u&password=a%26b", {"host": "h", "port": 6379, "username": "u", "password": "a&b"}),
        ("redis://h?protocol=3&decode_responses=true&encoding=utf-8&max_connections=1", {"host": "h", "port": 6379}),
        ("redis://h?socket_timeout=2.5", {"host": "h", "port": 6379, "socket_timeout": 2.5}),
        ("rediss://h?ssl_cert_reqs=none", {"host": "h", "port": 6379, "ssl_cert_reqs": "none"}),
        ("unix:///run/a%40b.sock?db=2", {"path": "/run/a@b.sock", "db": 2}),
        ("unix://u:p@/run/a.sock", {"path": "/run/a.sock", "username": "u", "password": "p"}),
    ],
)  # fmt: skip
def test_what_a_url_says(url: str, options: dict[str, Any]) -> None:
    address = address_of(url)
    assert (dict(address.options), address.sentinels) == (options, ())
    assert address.tls == url.startswith("rediss")


def test_sentinels() -> None:
    address = address_of(
        "redis+sentinel://u:p/w@a:1,b,[::1]:3/my%20master/2?sentinel_password=s&protocol=3&sentinel_username=v"
    )
    assert address.sentinels == (("a", 1), ("b", 26379), ("::1", 3))
    assert (address.master, address.options) == ("my master", {"username": "u", "password": "p/w", "db": 2})
    assert address.sentinel_options == {"username": "v", "password": "s"}
    assert address_of("rediss+sentinel://a/m").tls


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "must begin with"),
        ("h:6379", "must begin with"),
        ("http://h", "must begin with"),
        ("redis://h/abc", "no number"),
        ("redis://h?db=-1", "no number"),
        ("redis://h:0", "no port"),
        ("redis://h:99999", "taken apart"),
        ("redis://:p/w@h", "%2F"),
        ("redis://:12/w@h", "%2F"),
        ("redis://:p#w@h", "%23"),
        ("redis://:p?w@h", "%3F"),
        ("redis://h?passwort=x", "Did you mean 'password'"),
        ("redis://h?socket_timeout=soon", "is a number"),
        ("redis://h?socket_keepalive=perhaps", "true or false"),
        ("unix://run/redis.sock", "unix:///"),
        ("unix://:p/w@/run/redis.sock", "%2F"),
        ("redis+sentinel://a:1", "name of the master"),
        ("redis+sentinel:///m", "no sentinel"),
        ("redis+sentinel://a:1,,b/m", "no sentinel"),
        ("redis+sentinel://a:99999/m", "no sentinel"),
        ("redis+sentinel://a/m/x", "no number"),
        ("redis://h?sentinel_password=x", "no option"),
    ],
)
def test_what_cannot_be_used_is_said(url: str, said: str) -> None:
    with pytest.raises(AddressUnusable) as caught:
        connect(url)
    assert said in str(caught.value)
    if url:
        with pytest.raises(SettingsError) as refused:
            parse('[venues.spot]\nmarket = "spot"\nsymbols = ["A"]\n', "x.toml", {"REDIS_URL": url})
        assert said in str(refused.value)
        assert "REDIS_URL" in str(refused.value)
    if "w@" in url or "p" in url.partition("@")[0][-2:]:
        assert "p/w" not in str(caught.value)


@pytest.mark.parametrize(
    "options", ["protocol=3", "decode_responses=true", "protocol=3&decode_responses=yes&db=1"]
)
async def test_options_that_the_fleet_decides_itself_do_no_harm(spare_server: str, options: str) -> None:
    for kind in (connect, connect_reader):
        client = kind(f"{spare_server}?{options}")
        await client.hset("h", "a", "b")
        assert await client.hgetall("h") == {b"a": b"b"}
        await RawStreams(client, 1).append(
            [RawEntry("raw:{A}:depth", 1, 1, b"{}", 1, "a")], {"raw:{A}:depth": 9}
        )
        reader = GroupReader(client, kind.__name__)
        await reader.ensure("raw:{A}:depth")
        assert [entry.data for entry in (await reader.new(["raw:{A}:depth"], 5))["raw:{A}:depth"]] == [b"{}"]
        await client.aclose()


SECRETS = st.text("XYZ/#@:?&=%+;,.~ üß\"'\\", min_size=4, max_size=24).map(lambda text: f"Q{text}Q")


def forms(secret: str) -> list[str]:
    encoded = quote(secret, safe="")
    return [
        url
        for given in (secret, encoded)
        for url in (
            f"redis://:{given}@host:6379/0",
            f"redis://user:{given}@host",
            f"redis://{given.replace(':', '/')}@host/3",  # else it would be a user and a password
            f"rediss://user:{given}@host?db=1",
            f"unix://:{given}@/run/redis.sock",
            f"unix:///run/redis.sock?db=1&password={given}",
            f"redis://host?password={given}&db=1",
            f"redis+sentinel://:{given}@a:1,b:2/m",
            f"redis+sentinel://a:1,b:2/m?sentinel_password={given}",
            f"https://user:{given}@host/api/v3/depth?symbol=A",
            f"wss://host/ws?listen_token={given}",
            f"s3://key:{given}@bucket/archive",
        )
    ]


def shown(text: str) -> set[str]:
    """The letters of a secret that a text shows: they stand nowhere else in the forms."""
    return set(text) & set("QXYZ")


@given(SECRETS)
@example("Q/Q")
@example("Q#Q@Q")
@example("Q@Q:Q")
@example("Q?Q/Q@Q&Q=Q")
def test_no_part_of_a_secret_is_shown(secret: str) -> None:
    for url in forms(secret):
        assert not shown(mask(url)), url
        assert not shown(str(RestUnavailable(url, 0, "no"))), url


@given(SECRETS)
@example("Q/Q@Q")
def test_nor_by_an_error_about_the_address(secret: str) -> None:
    for url in forms(secret):
        problem = ""
        try:
            address_of(url)
        except AddressUnusable as error:
            problem = str(error)
        assert not shown(problem), url


@pytest.mark.parametrize(
    "url",
    [
        "user:Q@host:6379",
        "//user:Q@host",
        "redis:/user:Q@host",
        "host:6379?password=Q",
        "redis://host:Q",
        "redis://user:Q/Q",
        "redis://host:6379#Q",
        "redis+sentinel://a:1,b:Q/m",
    ],
)
def test_nor_of_what_was_meant_as_an_address(url: str) -> None:
    with pytest.raises(AddressUnusable) as raised:
        address_of(url)
    assert not shown(str(raised.value))
    for proxy in ("user:Q@host:80", "http:/user:Q@host", "//user:Q@host"):
        with pytest.raises(SettingsError) as refused:
            check_proxy("venues.usdm.proxy", proxy, SettingsError)
        assert not shown(str(refused.value))


@pytest.mark.parametrize(
    "text",
    [
        "redis+sentinel://a:1,b:2/m",
        "redis://[::1]:6379/0",
        "plain text",
        "btcusdt@depth",
        "wss://stream.binance.com:9443/stream?streams=btcusdt@depth/ethusdt@aggTrade",
        "https://fapi.binance.com/fapi/v1/depth?symbol=BTCUSDT&limit=1000",
        "redis://127.0.0.1:6390/5",
        "unix:///run/redis.sock?db=1",
        "Error 111 connecting to h:6379.",
    ],
)
def test_what_holds_no_secret_stays(text: str) -> None:
    assert mask(text) == text


def test_urls_inside_a_text_are_masked_too() -> None:
    said = "GET redis://a:Q1@h failed, then redis://Q2@h; and https://h/x?api_key=Q3"
    assert mask(said) == "GET redis://a:***@h failed, then redis://***@h; and https://h/x?api_key=***"
