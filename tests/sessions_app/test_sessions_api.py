"""002 over HTTP. Source: PROTOCOLS.md 3.6, 6."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Account, Membership, Pairing, User
from accounts.services import passes
from realtime.core.credentials import SessionTicket
from realtime.core.principal import Principal
from sessions_app.models import Run, Session
from sessions_app.services import runs, workers
from tests.sessions_app.worker import hold, question, says

Call = Callable[..., Any]
ORIGIN = "https://allowed.example"


def user_frame(text: str = "hi", uuid: str = "u-1") -> dict[str, Any]:
    message = {"role": "user", "content": text}
    return {"type": "user", "uuid": uuid, "session_id": "", "message": message}


@pytest.fixture
def people(bearer: Any) -> dict[str, dict[str, str]]:
    """Headers: alice is an operator, root an admin, val a viewer, carol another account's."""
    return {
        "alice": bearer("alice", "operator"),
        "bob": bearer("bob", "operator"),
        "root": bearer("root", "admin"),
        "val": bearer("val", "viewer"),
        "carol": bearer("carol", "admin", "other"),
    }


@pytest.fixture
def call(client: Client, people: Any) -> Call:
    def go(
        method: str, path: str, who: str = "alice", body: Any = None, headers: Any = None
    ) -> Any:
        shown = people[who] if who else {}
        text = "" if body is None else json.dumps(body)
        return client.generic(
            method,
            f"/v1/{path}",
            text,
            content_type="application/json",
            headers={**shown, **(headers or {})},
        )

    return go


def test_a_session_has_the_shape_of_the_protocol(call: Call, session: Session) -> None:
    for name in (session.public_id, "s"):
        for end in ("", "/"):
            shown = call("GET", f"sessions/{name}{end}").json()
            assert shown.pop("created_at") and shown.pop("updated_at")
            assert shown == {
                "id": session.public_id,
                "title": "",
                "type": "internal_session",
                "session_status": "idle",
                "environment_id": "env_default",
                "session_context": {"sources": [], "outcomes": [], "model": ""},
                "metadata": {},
                "active_mount_paths": [],
            }


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "sessions/{}", None),
        ("PATCH", "sessions/{}", {"title": "t"}),
        ("POST", "sessions/{}/archive", {}),
        ("GET", "sessions/{}/events", None),
        ("POST", "sessions/{}/events", {"events": []}),
        ("GET", "sessions/{}/share-status", None),
    ],
)
def test_what_is_not_theirs_does_not_exist(
    call: Call, session: Session, method: str, path: str, body: Any
) -> None:
    for who, status in [("alice", 200), ("bob", 404), ("carol", 404), ("", 401)]:
        answer = call(method, path.format(session.public_id), who, body)
        assert answer.status_code == status, who
        if status != 200:
            assert set(answer.json()["error"]) >= {"code", "message"}
    assert call(method, path.format("session_nobody"), "root", body).status_code == 404


def test_sessions_are_listed_newest_first_in_pages(
    call: Call, alice: Principal, session: Session
) -> None:
    made = [session.public_id]
    for number in range(4):
        row = Session.objects.create(account=session.account, key=f"k{number}", owner="alice")
        made.insert(0, row.public_id)
    Session.objects.create(account=session.account, key="bobs", owner="bob")
    Session.objects.create(account=Account.objects.get(slug="other"), key="s", owner="alice")
    first = call("GET", "sessions?limit=2").json()
    assert [one["id"] for one in first["data"]] == made[:2]
    assert (first["has_more"], first["first_id"], first["last_id"]) == (True, made[0], made[1])
    rest = call("GET", f"sessions?after_id={made[1]}").json()
    assert [one["id"] for one in rest["data"]] == made[2:]
    assert not rest["has_more"]
    assert call("GET", f"sessions?before={made[3]}").json()["last_id"] == made[4]
    long_ago = call("GET", "sessions?before=2020-01-01T00:00:00Z").json()
    assert long_ago == {"data": [], "has_more": False, "first_id": None, "last_id": None}
    assert len(call("GET", "sessions", "root").json()["data"]) == 6
    before_time = "before=0001-01-01T00:00:00%2B14:00"
    for wrong in ("after_id=nobody", "before=nobody", "limit=x", "before=%00", before_time):
        assert call("GET", f"sessions?{wrong}").status_code == 400


def test_a_longer_list_costs_no_more_queries(
    call: Call, session: Session, django_assert_num_queries: Any
) -> None:
    with CaptureQueriesContext(connection) as one:
        call("GET", "sessions")
    for number in range(5):
        Session.objects.create(account=session.account, key=f"k{number}", owner="alice")
    with django_assert_num_queries(len(one)):
        assert len(call("GET", "sessions").json()["data"]) == 6


def test_what_no_database_could_keep_is_refused(call: Call, session: Session) -> None:
    for path, method, body in [
        (f"sessions/{session.public_id}", "PATCH", {"title": "\ud800"}),
        (f"sessions/{session.public_id}/events", "POST", {"events": [user_frame("\ud800")]}),
        ("sessions", "POST", {"session_context": {"\udfff": 1}}),
    ]:
        assert call(method, path, body=body).status_code == 400
    assert session.events.count() == 2


def test_what_is_null_is_not_changed(call: Call, session: Session) -> None:
    path = f"sessions/{session.public_id}"
    call("PATCH", path, body={"title": "Mine"})
    changed = call("PATCH", path, body={"title": None, "session_status": None})
    assert (changed.status_code, changed.json()["title"]) == (200, "Mine")


def test_a_session_is_made_and_what_is_said_first_is_answered(
    call: Call, node: str, told: Any
) -> None:
    wrapped = {"type": "event", "data": user_frame("hello")}
    made = call(
        "POST",
        "sessions",
        body={
            "title": "New",
            "environment_id": "env_1",
            "events": [wrapped],
            "session_context": {"sources": [{"type": "git"}], "outcomes": [], "model": "big"},
        },
    ).json()
    assert (made["title"], made["environment_id"], made["session_status"]) == (
        "New",
        "env_1",
        "running",
    )
    assert made["session_context"]["sources"] == [{"type": "git"}]
    session = Session.objects.get()
    assert (session.key, session.owner, session.model) == (made["id"], "alice", "big")
    [(targets, begun)] = told("run.begin")
    sent = runs.handed_over(begun.data)
    assert (sent.outcome, sent.message, sent.model) == ("started", "hello", "big")
    assert sent.run_id == str(Run.objects.get().pk)
    assert str(targets).count("node:node-1") == 1


def test_a_session_may_be_made_for_a_worker(call: Call) -> None:
    body = {"agent": "worker", "events": []}
    assert call("POST", "sessions", body=body).status_code == 200
    assert Session.objects.get().agent == "worker"
    assert call("POST", "sessions", body={"agent": "nobody"}).status_code == 404


def test_a_session_is_renamed_archived_once_and_taken_out_again(
    call: Call, session: Session, told: Any
) -> None:
    path = f"sessions/{session.public_id}"
    assert call("PATCH", path, body={"title": "T"}).json()["title"] == "T"
    assert told("session.updated")[-1][1].data["label"] == "T"
    assert call("POST", f"{path}/archive", body={}).json()["session_status"] == "archived"
    assert call("POST", f"{path}/archive", body={}).status_code == 409
    assert told("session.said")[-1][1].data["frame"]["status"] == "archived"
    taken_out = call("PATCH", path, body={"session_status": "idle"}).json()
    assert taken_out["session_status"] == "idle"
    again = call("PATCH", path, body={"session_status": "archived"}).json()
    assert again["session_status"] == "archived"
    for wrong in ({"session_status": "odd"}, {"title": 1}, {"title": "x" * 256}, [1]):
        assert call("PATCH", path, body=wrong).status_code == 400


def test_events_come_oldest_first_after_an_event_in_pages(call: Call, session: Session) -> None:
    path = f"sessions/{session.public_id}/events"
    whole = call("GET", path).json()
    assert [one["type"] for one in whole["data"]] == ["user", "assistant"]
    first, last = (one["uuid"] for one in whole["data"])
    assert (whole["has_more"], whole["first_id"], whole["last_id"]) == (False, first, last)
    after = call("GET", f"{path}?after_id={first}").json()
    assert [one["uuid"] for one in after["data"]] == [last]
    one = call("GET", f"{path}?limit=1").json()
    assert (one["has_more"], one["last_id"]) == (True, first)
    for unknown in ("never", "%00"):
        assert call("GET", f"{path}?after_id={unknown}").json() == whole


def test_what_is_posted_is_said_once_and_answered_with_an_object(
    call: Call, session: Session, node: str, told: Any
) -> None:
    path = f"sessions/{session.public_id}/events"
    body = {"events": [user_frame(), {"type": "odd"}, {"type": "user"}]}
    for _ in range(2):
        answer = call("POST", path, body=body)
        assert (answer.status_code, answer.json()) == (200, {})
    assert session.events.filter(uuid="u-1").count() == 1
    assert len(told("run.begin")) == 1


def test_without_a_process_nothing_is_half_said(call: Call, session: Session) -> None:
    path = f"sessions/{session.public_id}/events"
    assert call("POST", path, body={"events": [user_frame()]}).status_code == 503
    assert session.events.count() == 2


def test_a_request_that_is_posted_is_answered_on_the_sockets(
    call: Call, session: Session, told: Any
) -> None:
    asked = {"type": "control_request", "request_id": "c", "request": {"subtype": "initialize"}}
    path = f"sessions/{session.public_id}/events"
    assert call("POST", path, body={"events": [asked]}).json() == {}
    [(_, event)] = told("session.said")
    assert event.data["frame"]["response"]["request_id"] == "c"


def test_a_question_is_answered_by_post(
    call: Call, session: Session, worker: Principal, node: str, told: Any
) -> None:
    hold(worker, node)
    says(worker, question())
    path = f"sessions/{session.public_id}"
    assert call("GET", path).json()["session_status"] == "requires_action"
    inner = {"subtype": "success", "request_id": "q-1", "response": {"behavior": "allow"}}
    answer = {"type": "control_response", "response": inner}
    assert call("POST", f"{path}/events", "bob", {"events": [answer]}).status_code == 404
    assert call("POST", f"{path}/events", "root", {"events": [answer]}).status_code == 200
    [(_, event)] = told("session.work")
    assert event.data["frame"]["response"] == inner
    assert workers.holder(Session.objects.get()) == node


def test_who_only_reads_says_nothing(call: Call, session: Session) -> None:
    Session.objects.update(owner="val")
    path = f"sessions/{session.public_id}"
    assert call("GET", f"{path}/events", "val").status_code == 200
    assert call("PATCH", path, "val", {"title": "t"}).status_code == 403
    assert call("POST", f"{path}/events", "val", {"events": [user_frame()]}).status_code == 403
    assert call("POST", "sessions", "val", {}).status_code == 403


@pytest.mark.parametrize(
    "body", [{"events": "x"}, {"events": ["x"]}, [1], {"events": [{"a": "\0"}]}]
)
def test_a_body_of_the_wrong_shape_is_refused(call: Call, session: Session, body: Any) -> None:
    assert call("POST", f"sessions/{session.public_id}/events", body=body).status_code == 400


def test_the_organization_must_be_the_callers(call: Call, session: Session) -> None:
    default = Account.objects.get(slug="default")
    for named in ("default", str(default.uuid)):
        assert call("GET", "sessions", headers={"x-organization-uuid": named}).status_code == 200
        assert call("GET", f"sessions?organization_uuid={named}").status_code == 200
    for named in ("other", "nowhere"):
        assert call("GET", "sessions", headers={"x-organization-uuid": named}).status_code == 401


def test_a_person_of_two_organizations_names_the_one_that_is_meant(
    call: Call, session: Session
) -> None:
    other = Account.objects.get(slug="other")
    Membership.objects.create(
        user=User.objects.get(username="alice"), account=other, role="operator"
    )
    Session.objects.create(account=other, key="theirs", owner="alice")
    assert call("GET", "sessions").json()["data"][0]["id"] == session.public_id
    there = call("GET", "sessions", headers={"x-organization-uuid": "other"}).json()["data"]
    assert [one["id"] for one in there] == [Session.objects.get(key="theirs").public_id]


def test_a_cookie_changes_something_from_an_allowed_origin_alone(
    call: Call, people: Any, session: Session, settings: Any, client: Client
) -> None:
    settings.ALLOWED_ORIGINS = [ORIGIN]
    client.cookies["sessionKey"] = people["alice"]["authorization"].removeprefix("Bearer ")
    path = f"sessions/{session.public_id}"
    assert call("GET", path, "").status_code == 200
    for headers, status in [
        ({"origin": ORIGIN}, 200),
        ({}, 403),
        ({"origin": "https://elsewhere.example"}, 403),
    ]:
        answer = call("PATCH", path, "", {"title": "t"}, headers)
        assert answer.status_code == status, headers


def test_environments_are_this_server(call: Call) -> None:
    path = "environment_providers/private/organizations/default/environments"
    found = call("GET", path).json()
    assert [one["environment_id"] for one in found["environments"]] == ["env_default"]
    assert (found["has_more"], found["first_id"], found["last_id"]) == (
        False,
        "env_default",
        "env_default",
    )
    assert call("GET", f"{path}/env_default").json() == found["environments"][0]
    assert call("GET", f"{path}/env_other").status_code == 404
    elsewhere = path.replace("default", "other")
    assert call("GET", elsewhere).status_code == 404


def test_nobody_shares_a_session(call: Call, session: Session) -> None:
    shown = call("GET", f"sessions/{session.public_id}/share-status").json()
    assert shown == {"is_shared": False}


# --- for pages ---


def test_a_pass_is_a_cookie_for_the_sessions_socket_alone(call: Call, session: Session) -> None:
    answer = call("POST", "sessions/s/pass")
    assert (answer.status_code, answer.content) == (204, b"")
    cookie = answer.cookies["sessionKey"]
    assert cookie["path"] == f"/v1/sessions/ws/{session.public_id}"
    assert (cookie["httponly"], cookie["samesite"], cookie["max-age"]) == (True, "Strict", 60)
    shown = passes.at_session(credential=SessionTicket(token=cookie.value))
    assert (shown.id, shown.via) == ("alice", "jwt")
    assert shown.handles, "what ends the token ends the socket"


def test_a_pass_is_given_to_who_may_see_the_session(
    call: Call, client: Client, session: Session
) -> None:
    for who, status in {"root": 204, "bob": 404, "carol": 404, "": 401}.items():
        client.cookies.clear()  # it would send the pass to every path
        answer = call("POST", "sessions/s/pass", who)
        assert answer.status_code == status, who
        assert bool(answer.cookies) == (status == 204)


def test_a_paired_browser_sees_its_sessions_and_gets_a_pass(
    client: Client, session: Session, accounts: None
) -> None:
    later = timezone.now() + dt.timedelta(hours=1)
    paired = Pairing.objects.create(
        account=Account.objects.get(slug="default"),
        sender_id="a" * 40,
        channel="browser",
        proof=True,
        user_id="alice",
        status=Pairing.Status.APPROVED,
        expires_at=later,
        approved_until=later,
    )
    headers = {"x-goclaw-sender-id": paired.sender_id}
    listed = client.get("/v1/sessions", headers=headers).json()
    assert [one["id"] for one in listed["data"]] == [session.public_id]
    answer = client.post("/v1/sessions/s/pass", headers=headers)
    shown = passes.at_session(credential=SessionTicket(token=answer.cookies["sessionKey"].value))
    assert (shown.id, shown.via) == ("alice", "device")
    assert paired.handle in shown.handles


def test_who_watches_is_told_to_who_may_watch(call: Call, session: Session) -> None:
    told = {"data": [], "agent": session.agent, "key": "s"}
    assert call("GET", "sessions/s/watchers").json() == told
    assert call("GET", "sessions/s/watchers", "bob").status_code == 404
