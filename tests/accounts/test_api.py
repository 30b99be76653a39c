"""HTTP for the same services: tokens, keys, pairings. Source: CONTRACT (HTTP)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from accounts.models import ApiKey, Pairing, User
from accounts.services import journal, keys, tokens
from tests.accounts.conftest import GATEWAY_TOKEN, PASSWORD, Ask, bearer, person


def access(user: User) -> APIClient:
    return bearer(tokens.issue(user=user)["access"])


def refusal(answer: Any) -> tuple[int, str]:
    """Status and message; every error has the one shape."""
    error = answer.json()["error"]
    assert set(error) <= {"code", "message", "details"}
    return answer.status_code, error["message"]


@pytest.fixture
def nobody(db: None) -> APIClient:
    return APIClient()


# --- tokens ---


@pytest.mark.parametrize("slash", ["", "/"])
def test_log_in_refresh_and_log_out(nobody: APIClient, alice: User, shut: Any, slash: str) -> None:
    given = {"username": "alice", "password": PASSWORD}
    first = nobody.post(f"/api/auth/token{slash}", given, format="json")
    assert first.status_code == 200 and set(first.json()) == {"access", "refresh"}
    refresh = first.json()["refresh"]
    second = nobody.post(f"/api/auth/token/refresh{slash}", {"refresh": refresh}, format="json")
    assert second.status_code == 200 and set(second.json()) == {"access", "refresh"}
    refresh = second.json()["refresh"]
    third = nobody.post(f"/api/auth/refresh{slash}", {"refresh": refresh}, format="json")
    held = third.json()
    assert bearer(held["access"]).get("/api/auth/keys/").status_code == 200
    out = nobody.post(f"/api/auth/token/revoke{slash}", {"refresh": held["refresh"]}, format="json")
    assert out.status_code == 200 and shut() == {"user:default:alice"}
    assert bearer(held["access"]).get("/api/auth/keys/").status_code == 401
    again = nobody.post(f"/api/auth/revoke{slash}", {"refresh": held["refresh"]}, format="json")
    assert again.status_code == 401


@pytest.mark.parametrize(
    ("name", "password"), [("alice", "wrong"), ("nobody", PASSWORD), ("off", PASSWORD)]
)
def test_a_wrong_name_or_password_is_401(
    nobody: APIClient, alice: User, name: str, password: str
) -> None:
    User.objects.create_user("off", password=PASSWORD, is_active=False)
    answer = nobody.post(
        "/api/auth/token/", {"username": name, "password": password}, format="json"
    )
    assert refusal(answer) == (401, "no active user with this name and password")


@pytest.mark.parametrize(
    "body", [{}, {"username": "alice"}, {"username": "a\x00", "password": "x"}, [], {"username": 1}]
)
def test_a_body_of_the_wrong_shape_is_400(nobody: APIClient, body: Any) -> None:
    assert refusal(nobody.post("/api/auth/token/", body, format="json"))[0] == 400


def test_guessing_is_locked_out_from_loopback_too(
    nobody: APIClient, alice: User, settings: Any
) -> None:
    settings.AXES_FAILURE_LIMIT = 3
    settings.AXES_ENABLED = True

    def log_in(password: str) -> int:
        given = {"username": "alice", "password": password}
        answer = nobody.post("/api/auth/token/", given, format="json", REMOTE_ADDR="127.0.0.1")
        if answer.status_code != 200:
            refusal(answer)
        return int(answer.status_code)

    assert [log_in("wrong") for _ in range(2)] == [401, 401]
    assert log_in(PASSWORD) == 200  # a success forgets what came before
    assert [log_in("wrong") for _ in range(2)] == [401, 401]
    assert log_in("wrong") in (401, 429)
    assert log_in("wrong") == 429
    assert log_in(PASSWORD) == 429


def test_a_stale_header_does_not_stop_a_log_in(alice: User) -> None:
    given = {"username": "alice", "password": PASSWORD}
    assert bearer("stale").post("/api/auth/token/", given, format="json").status_code == 200


@pytest.mark.parametrize("refresh", ["x", "a.b.c", ""])
def test_a_bad_refresh_token_is_no_fault_of_ours(nobody: APIClient, refresh: str) -> None:
    for path in ("refresh", "revoke"):
        answer = nobody.post(f"/api/auth/{path}/", {"refresh": refresh}, format="json")
        assert refusal(answer)[0] == (401 if refresh else 400)


# --- who asks ---


def test_every_bearer_is_heard_and_anything_else_is_401(alice: User, nobody: APIClient) -> None:
    made = keys.create(principal=journal.command_line(), name="k", user=alice)
    for token in (GATEWAY_TOKEN, made.text, tokens.issue(user=alice)["access"]):
        assert bearer(token).get("/api/auth/keys/").status_code == 200
    assert refusal(bearer("wrong").get("/api/auth/keys/"))[0] == 401
    assert refusal(nobody.get("/api/auth/keys/")) == (401, "credentials are required")
    nobody.credentials(HTTP_AUTHORIZATION="Basic YTpi")
    assert refusal(nobody.get("/api/auth/keys/"))[0] == 401


def test_a_user_who_is_no_operator_is_403(default: Any, nobody: APIClient) -> None:
    answer = access(person("viewer", default, "viewer")).get("/api/auth/keys/")
    assert refusal(answer)[0] == 403
    assert answer.json()["error"]["code"] == "FORBIDDEN"


def test_a_session_is_heard_from_staff_with_csrf_only(
    boss: User, alice: User, at_admin: Callable[[User], Client]
) -> None:
    staff, plain = at_admin(boss), at_admin(alice)
    assert staff.get("/api/pairings/").status_code == 200
    assert plain.get("/api/auth/keys/").status_code == 401
    body = {"data": {"name": "k"}, "content_type": "application/json"}
    assert staff.post("/api/auth/keys/", **body).status_code == 403
    staff.cookies["csrftoken"] = token = "c" * 32
    made = staff.post("/api/auth/keys/", **body, headers={"X-CSRFToken": token})
    assert made.status_code == 201


# --- keys ---


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_key_is_shown_once_listed_and_ended(alice: User, shut: Any, slash: str) -> None:
    caller = access(alice)
    wanted = {"name": "laptop", "scopes": ["operator.read"], "expires_in": "30d"}
    made = caller.post(f"/api/auth/keys{slash}", wanted, format="json")
    assert made.status_code == 201
    shown = made.json()
    assert bearer(shown["key"]).get("/api/pairings/").status_code == 403
    listed = caller.get(f"/api/auth/keys{slash}").json()
    (row,) = listed["results"]
    assert listed["next"] is None
    assert row | {"last_used_at": None} == {k: v for k, v in shown.items() if k != "key"}
    assert shown["key"] not in str(listed)
    assert caller.delete(f"/api/auth/keys/{shown['id']}{slash}").status_code == 204
    assert shut() == {f"key:{shown['id']}"}
    assert bearer(shown["key"]).get("/api/auth/keys/").status_code == 401
    assert caller.delete(f"/api/auth/keys/{shown['id']}{slash}").status_code == 404


@pytest.mark.parametrize(("who", "status"), [("bob", 404), ("other_boss", 404), ("boss", 204)])
def test_another_users_key_does_not_exist_but_for_the_admin(
    who: str, status: int, alice: User, request: pytest.FixtureRequest
) -> None:
    made = keys.create(principal=journal.command_line(), name="k", user=alice)
    caller = access(request.getfixturevalue(who))
    assert caller.get("/api/auth/keys/").json()["results"] == []
    assert caller.delete(f"/api/auth/keys/{made.row.pk}/").status_code == status


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"name": ""}, 400),
        ({"name": "k", "scopes": ["root"]}, 400),
        ({"name": "k", "scopes": "operator.read"}, 400),
        ({"name": "k", "scopes": ["operator.admin"]}, 403),
        ({"name": "k", "owner_id": "bob"}, 403),
        ({"name": "k", "expires_in": "soon"}, 400),
        ({"name": "k", "expires_at": "2001-01-01T00:00:00Z"}, 400),
        ({"name": "k", "expires_in": "1d", "expires_at": "2101-01-01T00:00:00Z"}, 400),
        ([], 400),
    ],
    ids=str,
)
def test_a_key_that_must_not_be_is_refused(alice: User, body: Any, status: int) -> None:
    assert refusal(access(alice).post("/api/auth/keys/", body, format="json"))[0] == status
    assert not ApiKey.objects.exists()


def test_an_endless_key_number_is_not_found(alice: User) -> None:
    assert access(alice).delete(f"/api/auth/keys/{'9' * 40}/").status_code == 404


def test_long_lists_have_a_next_page(alice: User) -> None:
    for number in range(3):
        keys.create(principal=journal.command_line(), name=f"k{number}", user=alice)
    caller = access(alice)
    first = caller.get("/api/auth/keys/?limit=2").json()
    second = caller.get(first["next"]).json()
    assert [row["name"] for row in first["results"] + second["results"]] == ["k2", "k1", "k0"]
    assert second["next"] is None


# --- pairings ---


@pytest.mark.parametrize("slash", ["", "/"])
def test_an_admin_lists_approves_and_revokes(ask: Ask, boss: User, shut: Any, slash: str) -> None:
    waiting = ask()
    caller = access(boss)
    (row,) = caller.get(f"/api/pairings{slash}?status=pending").json()["results"]
    assert (row["code"], row["user_id"], row["status"]) == (waiting.code, "alice", "pending")
    done = caller.post(f"/api/pairings/{waiting.code.lower()}/approve{slash}", format="json")
    assert done.status_code == 200
    assert done.json()["paired"]["sender_id"] == waiting.sender_id
    again = caller.post(f"/api/pairings/{waiting.code}/approve{slash}", format="json")
    assert refusal(again) == (404, f"pairing code {waiting.code} not found or expired")
    late = caller.post(f"/api/pairings/{waiting.code}/deny{slash}", format="json")
    assert late.status_code == 404
    ended = caller.post(f"/api/pairings/{waiting.sender_id}/revoke{slash}", format="json")
    assert (ended.status_code, ended.json()) == (200, {"revoked": True})
    assert shut() == {f"device:{Pairing.objects.get().pk}"}


def test_an_admin_denies(ask: Ask, boss: User) -> None:
    waiting = ask()
    answer = access(boss).post(f"/api/pairings/{waiting.code}/deny/", format="json")
    assert (answer.status_code, answer.json()) == (200, {"denied": True})
    assert Pairing.objects.get().status == "denied"


@pytest.mark.parametrize(("who", "status"), [("alice", 403), ("bob", 403), ("other_boss", 404)])
def test_nobody_else_decides_or_sees_a_pairing(
    who: str, status: int, ask: Ask, paired: Any, request: pytest.FixtureRequest, nobody: APIClient
) -> None:
    waiting = ask(user_id="carol")
    caller = access(request.getfixturevalue(who))
    paths = [
        f"/api/pairings/{waiting.code}/approve/",
        f"/api/pairings/{waiting.code}/deny/",
        f"/api/pairings/{paired.sender_id}/revoke/",
    ]
    for path in paths:
        assert refusal(caller.post(path, format="json"))[0] == status
        assert refusal(nobody.post(path, format="json"))[0] == 401
        assert caller.get(path).status_code in (403, 405)
    listed = caller.get("/api/pairings/")
    assert listed.status_code == (403 if status == 403 else 200)
    assert waiting.code not in listed.content.decode()
    assert set(Pairing.objects.values_list("status", flat=True)) == {"pending", "approved"}


def test_an_unknown_status_is_refused_with_what_is_allowed(boss: User) -> None:
    status, message = refusal(access(boss).get("/api/pairings/?status=odd"))
    assert status == 400 and "pending" in message


# --- what is no fault of ours ---


@pytest.mark.parametrize(
    "path",
    [
        "/api/auth/token/",
        "/api/auth/refresh/",
        "/api/auth/keys/",
        "/api/pairings/ABCDEFGH/approve/",
    ],
)
def test_json_of_any_depth_is_400(boss: User, path: str) -> None:
    answer = access(boss).post(path, "[" * 100_000, content_type="application/json")
    assert refusal(answer)[0] == 400


# "p=abc", "p=\0", "p=9999999999999999999999", nonsense
@pytest.mark.parametrize("cursor", ["cD1hYmM=", "cD0A", "cD05OTk5OTk5OTk5OTk5OTk5OTk5OTk5", "???"])
@pytest.mark.parametrize("path", ["/api/pairings/", "/api/auth/keys/", "/api/connections/"])
def test_an_odd_cursor_is_not_found_or_empty(boss: User, path: str, cursor: str) -> None:
    answer = access(boss).get(path, {"cursor": cursor})
    assert answer.status_code in (404, 200)
    assert answer.status_code == 404 and refusal(answer) or answer.json()["results"] == []


@pytest.mark.parametrize(
    "path",
    [
        "/api/pairings/%00/approve/",
        "/api/pairings/%00/deny/",
        "/api/pairings/%00/revoke/",
        "/api/connections/%00/disconnect/",
    ],
)
def test_a_nul_in_a_path_is_not_found(boss: User, path: str) -> None:
    assert refusal(access(boss).post(path, format="json"))[0] == 404


@pytest.mark.parametrize("body", ["null", ""])
def test_no_body_is_an_empty_object_where_nothing_is_required(
    ask: Ask, boss: User, body: str
) -> None:
    path = f"/api/pairings/{ask().code}/approve/"
    assert access(boss).post(path, body, content_type="application/json").status_code == 200
    assert refusal(access(boss).post("/api/auth/token/", body, content_type="application/json"))[
        0
    ] in (400, 401)
