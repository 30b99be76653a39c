from __future__ import annotations

import pytest

from realtime.core.errors import NotFound
from realtime.routing import resolve


# PROTOCOLS.md 0.1, row by row.
@pytest.mark.parametrize(
    ("path", "query", "protocol", "ids"),
    [
        ("/edge/ws", "edge_agent_id=edge_1", "edge", {}),
        ("/edge/ws/", "", "edge", {}),
        ("/ws", "token=abc", "nexus", {}),
        ("/ws", "token=", "nexus", {}),
        ("/ws/", "token", "nexus", {}),
        ("/", "token=abc", "nexus", {}),
        ("/nexus/ws", "", "nexus", {}),
        ("/nexus", "token=x", "nexus", {}),
        ("/ws", "", "goclaw", {}),
        ("/ws/", "", "goclaw", {}),
        ("/ws", "tokens=abc", "goclaw", {}),
        ("/goclaw/ws", "", "goclaw", {}),
        ("/goclaw/ws", "token=abc", "goclaw", {}),
        (
            "/v1/sessions/ws/session_1/subscribe",
            "",
            "remote",
            {"session_id": "session_1", "part": "subscribe"},
        ),
        ("/v1/sessions/ws/s/worker", "", "remote", {"session_id": "s", "part": "worker"}),
        (
            "/v3/ws/group/team%20%C3%BC/client/a.b:c@d%2Fe",
            "",
            "aether",
            {"group_id": "team ü", "client_id": "a.b:c@d/e"},
        ),
        # A raw UTF-8 path reaches the application as Latin-1.
        (
            "/v3/ws/group/t\u00c3\u00bc/client/%F0%9F%92%99-_+:@",
            "api_key=&jwt=&x_account_id=&token=x",
            "aether",
            {"group_id": "tü", "client_id": "💙-_+:@"},
        ),
        (
            "/v3/ws/group/%E2%98%83" + "%E2%98%83" * 127 + "/client/c",
            "",
            "aether",
            {"group_id": "☃" * 128, "client_id": "c"},
        ),
        ("/v3/ws/group/g/client/%2525", "", "aether", {"group_id": "g", "client_id": "%25"}),
        (
            "/v3/ws/group/" + "x" * 128 + "/client/c/",
            "",
            "aether",
            {"group_id": "x" * 128, "client_id": "c"},
        ),
    ],
)
def test_every_path_speaks_its_protocol(path, query, protocol, ids):
    assert resolve(path, query) == (protocol, ids)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nothing",
        "//ws",
        "/ws/x",
        "/v1/sessions/ws//subscribe",
        "/v1/sessions/ws/s/other",
        "/v3/ws/group/a/b/client/c",
        "/v3/ws/group/g/client/" + "x" * 129,
        "/v3/ws/group/g/client/%00",
        "/v3/ws/group/g/client/a%0Ab",
        "/v3/ws/group/g/client/a%C2%85b",
        "/v3/ws/group/g/client/%E2%98%83" + "%E2%98%83" * 128,
        "/v3/ws/group/g/client/",
        "/v3/ws/group//client/c",
        "/v3/ws/group/g/client/c//",
        "/v3/ws/group/g/client/\u00ff",
        "/v3/ws/group/%FF/client/c",
        "/edge/ws/../../ws",
    ],
)
def test_any_other_path_is_not_found(path):
    with pytest.raises(NotFound):
        resolve(path)


@pytest.mark.parametrize(
    "path",
    ["/ws/group/g/client/c", "/ws_redis/group/g", "/ws/group/g/", "/ws_redis/g/c", "/ws/group"],
)
def test_the_legacy_paths_name_the_new_one(path):
    with pytest.raises(NotFound, match="/v3/ws/group/"):
        resolve(path)
