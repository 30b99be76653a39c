from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import Account
from realtime.core import addresses
from realtime.core.errors import InvalidParams, NotFound
from realtime.core.principal import Principal
from sessions_app.models import Media, Run, Session
from sessions_app.services import runs
from sessions_app.services.sending import CANCEL_WORDS
from sessions_app.services.sent import Sent

Say = Callable[..., Sent]


def contents(key: str = "s") -> list[str]:
    return [message["content"] for message in Session.objects.get(key=key).messages(99)]


def test_a_message_starts_a_run_that_is_announced(say: Say, told: Any) -> None:
    sent = say("hello", agent_id="echo", connection="c-1", stream=True)
    run = Run.objects.get()
    assert (sent.outcome, sent.run_id, sent.agent, sent.message) == (
        "started",
        str(run.pk),
        "echo",
        "hello",
    )
    assert (run.status, run.node, run.requested_by, run.stream) == (
        "running",
        "node-1",
        "alice",
        True,
    )
    [(targets, event)] = told("agent")
    assert targets == [addresses.user("default", "alice"), addresses.admins("default")]
    assert event.name == "agent"
    assert event.data == {
        "type": "run.started",
        "agentId": "echo",
        "runId": sent.run_id,
        "payload": {"message": "hello"},
        "userId": "alice",
        "channel": "ws",
        "chatId": "alice",
        "sessionKey": "s",
        "_connection": "c-1",
    }
    assert sent.audience == targets
    assert sent.stream


def test_the_started_announcement_is_named(say: Say) -> None:
    from realtime.models import Announcement

    announced = Announcement.objects.get(pk=say("hello").started_announcement)
    assert announced.event["data"]["type"] == "run.started"


def test_a_key_that_does_not_exist_makes_a_session_for_the_caller(say: Say) -> None:
    say("hello", session_key="user:demo")
    session = Session.objects.get()
    assert (session.key, session.owner, session.channel) == ("user:demo", "alice", "ws")
    assert contents("user:demo") == ["hello"]


def test_without_a_key_the_server_builds_one(say: Say) -> None:
    sent = say("hello", session_key="", agent_id="echo")
    prefix, _, tail = sent.session_key.rpartition(":")
    assert prefix == "agent:echo:ws:direct"
    assert uuid.UUID(tail)
    assert say("again", session_key="").session_key.startswith("agent:default:ws:direct:")


@pytest.mark.parametrize(
    ("key", "agent_id", "told_as"),
    [
        ("s", "", "default"),
        ("s", "echo", "echo"),
        ("s", "default", "default"),
        ("agent:echo:ws:direct:1", "", "echo"),
        ("agent:default:ws:direct:1", "", "default"),
        ("agent:nobody:ws:direct:1", "default", "default"),
    ],
)
def test_events_name_the_agent_as_the_client_did(
    say: Say, key: str, agent_id: str, told_as: str
) -> None:
    sent = say("hello", session_key=key, agent_id=agent_id)
    assert (sent.agent_id, sent.agent) == (told_as, "echo")


def test_the_default_agent_is_a_setting(say: Say, settings: Any) -> None:
    settings.DEFAULT_AGENT = "nobody"
    with pytest.raises(NotFound, match="agent not found: default"):
        say("hello")


@pytest.mark.parametrize(
    "fields", [{"agent_id": "nobody"}, {"session_key": "agent:nobody:ws:direct:1"}]
)
def test_an_unknown_agent_is_not_found_and_leaves_nothing(say: Say, fields: dict[str, str]) -> None:
    with pytest.raises(NotFound, match="^agent not found: nobody$"):
        say("hello", **fields)
    assert not Session.objects.exists()


def test_an_existing_session_keeps_its_agent(say: Say, session: Session) -> None:
    Session.objects.update(agent="nobody")
    with pytest.raises(NotFound, match="agent not found: nobody"):
        say("hello")
    assert say("hello", agent_id="echo").outcome == "started"


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"principal": Principal(id="", role="admin")}, "user_id is required"),
        ({"message": ""}, "message is required"),
        ({"message": " \n"}, "message is required"),
        ({"media": ({"filename": "y"},)}, "media path is required"),
        ({"media": ({"path": "x"},) * 11}, "media takes at most 10 files"),
        ({"session_key": "k" * 513}, "sessionKey is longer than 512 characters"),
        ({"message_id": "m" * 256}, "messageId is longer than 255 characters"),
        ({"agent_id": "a" * 256}, "agentId is longer than 255 characters"),
        ({"principal": Principal(id="u" * 256)}, "user_id is longer than 255 characters"),
    ],
)
def test_what_cannot_be_sent_is_refused(say: Say, fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidParams) as refused:
        say(**{"message": "hello"} | fields)
    assert str(refused.value) == complaint
    assert not Session.objects.exists()


def test_the_longest_values_are_stored(say: Say) -> None:
    say("hello", session_key="k" * 512, message_id="m" * 255)
    assert Session.objects.get().key == "k" * 512


def test_a_text_goes_into_the_active_run(say: Say, told: Any, run_events: Any) -> None:
    first = say("slow 9")
    second = say("and this")
    assert (second.outcome, second.result, second.run_id) == (
        "injected",
        {"injected": True},
        first.run_id,
    )
    [(targets, event)] = told("run.inject")
    assert targets == [addresses.node("node-1")]
    assert event.data == {"run": first.run_id, "text": "and this"}
    assert contents() == ["slow 9", "and this"]
    assert Run.objects.count() == 1
    assert run_events() == ["run.started"]


@pytest.mark.parametrize("word", [*sorted(CANCEL_WORDS), " STOP\n", "Never Mind", "DỪNG"])
def test_a_cancel_word_aborts_the_active_run(say: Say, told: Any, word: str) -> None:
    first = say("slow 9")
    sent = say(word)
    assert (sent.outcome, sent.result) == ("cancelled", {"cancelled": True, "aborted": True})
    [(targets, event)] = told("run.abort")
    assert targets == [addresses.node("node-1")]
    assert event.data == {"run": first.run_id}
    assert contents() == ["slow 9"]


def test_a_second_cancel_word_changes_nothing(say: Say, told: Any) -> None:
    say("slow 9")
    say("stop")
    assert say("stop").result == {"cancelled": True, "aborted": False}
    assert len(told("run.abort")) == 1


@pytest.mark.parametrize("text", ["stop it", "please cancel", "stopp", "abort!"])
def test_what_only_contains_a_cancel_word_is_injected(say: Say, text: str) -> None:
    say("slow 9")
    assert say(text).outcome == "injected"


def test_a_cancel_word_without_an_active_run_is_a_message(say: Say) -> None:
    assert say("stop").outcome == "started"
    assert contents() == ["stop"]


def test_a_run_of_a_dead_process_does_not_take_messages(
    say: Say, dead_node: str, run_events: Any
) -> None:
    say("hello", node=dead_node)
    assert say("anyone?").outcome == "started"
    assert run_events() == ["run.started", "run.failed", "run.started"]


def test_the_agent_is_given_what_was_said_before(say: Say, session: Session) -> None:
    sent = say("third")
    say("into it")
    earlier = [message["content"] for message in runs.begin(run_id=sent.run_id)[0]]
    assert earlier == ["hello", "hello back"]


def test_the_sessions_model_reaches_the_agent(say: Say, session: Session) -> None:
    Session.objects.update(model="m-1")
    assert say("third").model == "m-1"


def test_a_repeated_message_id_joins_the_running_run(say: Say, run_events: Any) -> None:
    first = say("hello", message_id="m")
    again = say("hello", message_id="m")
    assert (again.outcome, again.run_id) == ("repeated", first.run_id)
    assert again.audience == first.audience
    assert contents() == ["hello"]
    assert run_events() == ["run.started"]


def test_a_repeated_message_id_gets_the_stored_answer(say: Say) -> None:
    first = say("hello", message_id="m")
    _, answer = runs.finish(run_id=first.run_id, status="completed", content="hello")
    again = say("hello", message_id="m")
    assert (again.outcome, again.result) == ("done", answer)
    assert contents() == ["hello", "hello"]


def test_a_repeated_message_id_of_a_failed_run_gets_its_error(say: Say) -> None:
    first = say("hello", message_id="m")
    runs.finish(run_id=first.run_id, status="failed", error="broken")
    assert say("hello", message_id="m").result == {"error": "broken"}


@pytest.mark.parametrize("ended", [False, True])
def test_a_repeated_injection_is_injected_once(say: Say, told: Any, ended: bool) -> None:
    first = say("slow 9")
    say("more", message_id="m")
    if ended:
        runs.finish(run_id=first.run_id, status="completed", content="done")
    again = say("more", message_id="m")
    assert (again.outcome, again.result) == ("injected", {"injected": True})
    assert len(told("run.inject")) == 1
    assert contents().count("more") == 1


def test_message_ids_of_two_sessions_do_not_meet(say: Say) -> None:
    say("hello", message_id="m")
    assert say("hello", session_key="t", message_id="m").outcome == "started"


def test_an_admins_message_in_a_foreign_session_is_told_to_its_owner(
    say: Say, session: Session, admin: Principal, told: Any
) -> None:
    say("hello", principal=admin)
    [(targets, event)] = told("agent")
    assert targets[0] == addresses.user("default", "alice")
    assert event.data["userId"] == event.data["chatId"] == "alice"
    assert session.messages(1)[0]["sender_id"] == "root"


@pytest.fixture
def dot(alice: Principal) -> Media:
    """An upload of alice's."""
    account = Account.objects.get(slug="default")
    row = Media(account=account, owner=alice.id, filename="dot.png", mime_type="image/png", size=1)
    row.kind, row.stored_as, row.ready_at = Media.Kind.IMAGE, f"xx/{row.pk}", timezone.now()
    row.save()
    return row


@pytest.mark.parametrize(
    ("message", "content"),
    [("look\nhere", "look\nhere\n[image: dot.png]"), ("", "[image: dot.png]")],
)
def test_media_is_a_tag_in_the_text_and_a_reference_beside_it(
    say: Say, told: Any, dot: Media, message: str, content: str
) -> None:
    sent = say(message, media=({"path": dot.pk, "filename": "other.exe"},))
    assert (sent.outcome, sent.message) == ("started", content)
    (stored,) = Session.objects.get().messages(9)
    assert stored["content"] == content
    assert stored["media_refs"] == [
        {
            "id": dot.pk,
            "mime_type": "image/png",
            "kind": "image",
            "path": dot.pk,
            "filename": "dot.png",
        }
    ]
    assert told("agent")[0][1].data["payload"] == {"message": content}


@pytest.mark.parametrize("who", ["stranger", "other tenant's owner", "other tenant's admin"])
def test_media_of_somebody_else_does_not_exist(
    say: Say, dot: Media, people: dict[str, Principal], who: str
) -> None:
    for path in (dot.pk, "f" * 32):
        with pytest.raises(NotFound, match=f"^media not found: {path}$"):
            say("look", session_key="t", principal=people[who], media=({"path": path},))
    assert not Session.objects.exists()


def test_an_administrator_may_send_what_is_of_the_account(
    say: Say, dot: Media, admin: Principal
) -> None:
    assert say("look", principal=admin, media=({"path": dot.pk},)).outcome == "started"


@pytest.mark.parametrize("message", ["and this", "stop"])
def test_media_is_not_injected_but_told_that_it_must_wait(
    say: Say, told: Any, dot: Media, message: str
) -> None:
    first = say("slow 9")
    sent = say(message, media=({"path": dot.pk},), message_id="m")
    assert (sent.outcome, sent.run_id, sent.audience) == ("busy", first.run_id, first.audience)
    assert contents() == ["slow 9"]
    assert told("run.inject") == told("run.abort") == []
    runs.finish(run_id=first.run_id, status="completed", content="x")
    assert say(message, media=({"path": dot.pk},), message_id="m").outcome == "started"
