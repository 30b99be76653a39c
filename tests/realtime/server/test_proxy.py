"""Whose word is taken for the client's address and scheme."""

from __future__ import annotations

from typing import Any

import pytest

from realtime.server.proxy import TrustedProxies
from tests.realtime.server.conftest import Serve

NETWORKS = ["10.0.0.0/8", "127.0.0.1", "::1", "2001:db8::/32"]
FOR, PROTO = b"x-forwarded-for", b"x-forwarded-proto"


async def seen(
    *headers: tuple[bytes, bytes],
    peer: str | None = "10.1.2.3",
    kind: str = "http",
    networks: list[str] | None = None,
    secure: bool = False,
) -> dict[str, Any]:
    """The scope that the application gets."""
    scopes: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)

    scope = {
        "type": kind,
        "scheme": ("http" if kind == "http" else "ws") + ("s" if secure else ""),
        "client": (peer, 5000) if peer else None,
        "headers": [(b"host", b"a"), *headers],
    }
    before = {**scope, "headers": list(scope["headers"])}
    proxies = TrustedProxies(app, NETWORKS if networks is None else networks)
    await proxies(scope, None, None)
    assert scope == before, "the server's own scope is left alone"
    return scopes[0]


FORWARDED = {
    b"203.0.113.9": "203.0.113.9",
    b"6.6.6.6, 203.0.113.9": "203.0.113.9",
    b"6.6.6.6, 203.0.113.9, 10.9.9.9": "203.0.113.9",
    b"6.6.6.6,203.0.113.9 ,10.9.9.9,127.0.0.1": "203.0.113.9",
    b"10.5.5.5, 10.9.9.9": "10.5.5.5",
    b"nonsense, 10.9.9.9": "10.9.9.9",
    b"203.0.113.9, nonsense": "10.1.2.3",
    b"203.0.113.9, unknown, 10.9.9.9": "10.9.9.9",
    b"": "10.1.2.3",
    b" , ,": "10.1.2.3",
    b"010.0.0.1": "10.1.2.3",
    b"203.0.113.9:4711": "203.0.113.9",
    b"2001:DB8::1, 2a00::5": "2a00::5",
    b"[2a00::5]:4711": "2a00::5",
    b"::ffff:203.0.113.9": "203.0.113.9",
    b"203.0.113.9, ::ffff:10.9.9.9": "203.0.113.9",
    b"203.0.113.9\xff": "10.1.2.3",
    b"'; DROP TABLE--": "10.1.2.3",
}


@pytest.mark.parametrize(("value", "client"), FORWARDED.items())
@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_the_right_most_untrusted_address_is_the_client(value, client, kind):
    assert (await seen((FOR, value), kind=kind))["client"][0] == client


async def test_the_port_of_an_entry_is_kept_and_a_missing_one_is_0():
    assert (await seen((FOR, b"203.0.113.9:4711")))["client"] == ("203.0.113.9", 4711)
    assert (await seen((FOR, b"[2a00::5]:4711")))["client"] == ("2a00::5", 4711)
    assert (await seen((FOR, b"203.0.113.9")))["client"] == ("203.0.113.9", 0)
    assert (await seen((FOR, b"203.0.113.9:x")))["client"] == ("203.0.113.9", 0)


async def test_several_header_lines_are_one_list():
    scope = await seen((FOR, b"6.6.6.6"), (FOR, b"203.0.113.9"), (FOR, b"10.9.9.9"))
    assert scope["client"][0] == "203.0.113.9"


@pytest.mark.parametrize(
    ("kind", "value", "scheme"),
    [
        ("http", b"https", "https"),
        ("http", b"HTTPS", "https"),
        ("http", b"http", "http"),
        ("websocket", b"https", "wss"),
        ("websocket", b"http", "ws"),
        ("websocket", b"wss", "ws"),
        ("http", b"https, http", "http"),
        ("http", b"javascript", "http"),
        ("http", b"", "http"),
    ],
)
async def test_the_proxy_tells_the_scheme(kind, value, scheme):
    assert (await seen((PROTO, value), kind=kind))["scheme"] == scheme


@pytest.mark.parametrize("value", [b"javascript", b"wss", b"", b"https, "])
@pytest.mark.parametrize(("kind", "scheme"), [("http", "https"), ("websocket", "wss")])
async def test_what_is_no_scheme_changes_nothing(value, kind, scheme):
    assert (await seen((PROTO, value), kind=kind, secure=True))["scheme"] == scheme


@pytest.mark.parametrize("peer", ["203.0.113.1", "11.0.0.1", "2a00::1", "testclient", None])
@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_from_a_stranger_both_headers_are_removed(peer, kind):
    scope = await seen((FOR, b"6.6.6.6"), (PROTO, b"https"), peer=peer, kind=kind)
    assert scope["client"] == ((peer, 5000) if peer else None)
    assert scope["scheme"] in ("http", "ws")
    assert scope["headers"] == [(b"host", b"a")]


async def test_without_networks_nobody_is_believed():
    scope = await seen((FOR, b"6.6.6.6"), peer="127.0.0.1", networks=[])
    assert scope["client"] == ("127.0.0.1", 5000)
    assert scope["headers"] == [(b"host", b"a")]


@pytest.mark.parametrize("peer", ["::1", "2001:db8::5", "::ffff:10.0.0.1", "127.0.0.1"])
async def test_a_proxy_may_speak_either_address_family(peer):
    assert (await seen((FOR, b"203.0.113.9"), peer=peer))["client"][0] == "203.0.113.9"


def test_a_network_that_is_none_is_refused():
    with pytest.raises(ValueError, match="nonsense"):
        TrustedProxies(None, ["nonsense"])  # type: ignore[arg-type]


async def test_lifespan_passes():
    scopes: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)

    await TrustedProxies(app, NETWORKS)({"type": "lifespan"}, None, None)
    assert scopes == [{"type": "lifespan"}]


@pytest.mark.parametrize(("networks", "client"), [(["127.0.0.1"], "6.6.6.6"), ([], "127.0.0.1")])
async def test_over_a_socket_the_underscore_spelling_is_no_way_in(
    serve: Serve, networks: list[str], client: str
):
    scopes: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    served = await serve(TrustedProxies(app, networks))
    peer = await served.peer()
    peer.send(
        b"GET / HTTP/1.1\r\nHost: a\r\nX_Forwarded_For: 7.7.7.7\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"
    )
    assert (await peer.answer()).status == 204
    assert scopes[0]["client"][0] == client
    assert b"7.7.7.7" not in [value for _, value in scopes[0]["headers"]]
