"""Commands, bulks and edge agents in the admin: who sees and does what, and what stays behind."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.core.cache import cache
from django.test import Client

from accounts.models import EdgeAgent
from accounts.services import agents as doors
from realtime.core import addresses
from realtime.core.credentials import AgentSecret
from realtime.core.errors import BadCredentials
from realtime.core.events import DISCONNECT
from realtime.core.principal import Principal
from realtime.models import Announcement
from sessions_app.models import BulkSend, ScheduledCommand, Status
from sessions_app.services import bulk
from tests.sessions_app.edge import Agent, kinds, now, queue
from tests.sessions_app.test_admin import staff

COMMANDS = "/admin/sessions_app/scheduledcommand/"
BULKS = "/admin/sessions_app/bulksend/"
AGENTS = "/admin/accounts/edgeagent/"
PAGES = [COMMANDS, BULKS, AGENTS]


@pytest.fixture(autouse=True)
def _fresh_chart() -> None:
    cache.clear()


@pytest.fixture
def ours(alice: Principal) -> ScheduledCommand:
    return queue(alice, "edge_ours", command_type="ours_type", payload={"text": "<b>hi</b> 💙"})


@pytest.fixture
def theirs(other_alice: Principal) -> ScheduledCommand:
    return queue(other_alice, "edge_theirs", command_type="theirs_type", payload={"text": "x"})


@pytest.fixture
def boss(alice: Principal) -> Client:
    """An administrator of the account `default`."""
    return staff("boss", "default")


def text_of(client: Client, path: str, **query: str) -> str:
    answer = client.get(path, query)
    assert answer.status_code == 200, answer
    return answer.content.decode()


def own_page(row: Any, base: str = COMMANDS) -> str:
    return f"{base}{quote(row.pk)}/change/"


def rows_in(page: str) -> str:
    """Of a changelist only its table."""
    found = re.search(r'<table id="result_list">(.*?)</table>', page, re.DOTALL)
    return found[1] if found else ""


def asked(**fields: str) -> dict[str, str]:
    return {
        "agent_id": "edge_new",
        "command_type": "send_message_now",
        "payload": '{"text": "hello"}',
        "priority": "normal",
        "delivery": "at_least_once",
        "idempotency_key": "form-1",
        **fields,
    }


# --- Who sees what ---


def test_staff_see_their_own_accounts_commands_and_agents(
    ours: ScheduledCommand, theirs: ScheduledCommand, boss: Client
) -> None:
    carol, chief = staff("carol", "other"), staff("chief", "default", superuser=True)
    for path in (COMMANDS, AGENTS):
        mine, hers, all_ = (text_of(client, path) for client in (boss, carol, chief))
        assert "edge_ours" in mine and "theirs" not in mine
        assert "edge_theirs" in hers and "ours" not in hers
        assert "edge_ours" in all_ and "edge_theirs" in all_


def test_the_pages_of_another_accounts_rows_do_not_open(
    theirs: ScheduledCommand, boss: Client
) -> None:
    bulk.start(
        principal=Principal(id="alice", account="other", role="operator"),
        pattern="*",
        command_type="theirs_type",
        payload={},
    )
    for url in (
        own_page(theirs),
        own_page(theirs.agent, AGENTS),
        own_page(BulkSend.objects.get(), BULKS),
    ):
        assert boss.get(url)["Location"] == "/admin/", url


@pytest.mark.parametrize("path", PAGES)
def test_operators_and_strangers_are_kept_out(
    path: str, ours: ScheduledCommand, client: Client
) -> None:
    assert client.get(path)["Location"].startswith("/admin/login/")
    operator = staff("olga", "default", role="operator")
    for where in (path, f"{path}add/"):
        assert operator.get(where).status_code == 403
    assert operator.post(f"{path}add/", asked()).status_code == 403
    for verb in ("cancel", "retry"):
        assert operator.post(f"{COMMANDS}{ours.pk}/{verb}/").status_code == 403
    assert now(ours).status == Status.SCHEDULED


# --- The queue and one command ---


def test_the_queue_is_filtered_by_status_agent_and_type(
    alice: Principal, ours: ScheduledCommand, boss: Client
) -> None:
    done = queue(alice, "edge_other", command_type="done_type")
    ScheduledCommand.objects.filter(pk=done.pk).update(status=Status.COMPLETED)
    for name, value, shown, hidden in [
        ("status", "completed", "done_type", "ours_type"),
        ("status", "open", "ours_type", "done_type"),
        ("agent", "edge_other", "done_type", "ours_type"),
        ("type", "ours_type", "ours_type", "done_type"),
        ("q", ours.pk, "ours_type", "done_type"),
    ]:
        table = rows_in(text_of(boss, COMMANDS, **{name: value}))
        assert shown in table and hidden not in table, name
    assert rows_in(text_of(boss, COMMANDS, agent="a\x00b")) == ""


def test_a_commands_page_tells_its_way_and_its_payload_escaped(
    ours: ScheduledCommand, boss: Client
) -> None:
    agent = Agent("edge_ours")
    agent.connect()
    assert agent.take_due() == [ours.pk]
    agent.ack(ours, "failed", error="no <such> thread")
    page = text_of(boss, own_page(ours))
    timeline = page[page.index('class="timeline"') :]
    shown = re.findall(r'<span class="kind">(\w+)</span>', timeline)
    assert shown == ["scheduled", "leased", "delivered", "failed"]
    assert "attempt 1" in timeline and "error: no &lt;such&gt; thread" in timeline
    assert '<span class="actor">alice</span>' in timeline, "who asked for it"
    assert '<span class="actor">edge_ours</span>' in timeline, "who answered"
    assert "&lt;b&gt;hi&lt;/b&gt; 💙" in page and "<b>hi" not in page
    assert f"{COMMANDS}{ours.pk}/retry/" in page and f"{ours.pk}/cancel/" not in page


def test_cancel_and_retry_are_done_by_button_and_stay_in_the_history(
    ours: ScheduledCommand, boss: Client
) -> None:
    told = boss.post(f"{COMMANDS}{ours.pk}/cancel/", follow=True).content.decode()
    assert "Cancelled ours_type" in told
    assert now(ours).status == Status.CANCELLED
    told = boss.post(f"{COMMANDS}{ours.pk}/cancel/", follow=True).content.decode()
    assert "a command that is cancelled cannot be cancelled" in told
    ScheduledCommand.objects.filter(pk=ours.pk).update(status=Status.DEAD)
    boss.post(f"{COMMANDS}{ours.pk}/retry/")
    assert now(ours).status == Status.SCHEDULED and now(ours).retries == 1
    assert kinds(ours) == ["scheduled", "cancelled", "scheduled"]
    assert [event.actor for event in ours.events.order_by("pk")] == ["alice", "boss", "boss"]
    entries = LogEntry.objects.order_by("pk")
    assert [(entry.user.username, entry.object_id) for entry in entries] == [("boss", ours.pk)] * 2
    assert [entry.change_message.split()[0] for entry in entries] == ["cancelled", "retried"]
    assert boss.get(f"{COMMANDS}{ours.pk}/cancel/").status_code == 405


def test_selected_commands_are_cancelled_and_retried_together(
    alice: Principal, ours: ScheduledCommand, theirs: ScheduledCommand, boss: Client
) -> None:
    other = queue(alice, "edge_other")
    chosen = [ours.pk, other.pk, theirs.pk]
    boss.post(COMMANDS, {"action": "cancel_selected", "_selected_action": chosen})
    assert [now(one).status for one in (ours, other, theirs)] == [
        Status.CANCELLED,
        Status.CANCELLED,
        Status.SCHEDULED,
    ]
    ScheduledCommand.objects.filter(pk=ours.pk).update(status=Status.EXPIRED)
    boss.post(COMMANDS, {"action": "retry_selected", "_selected_action": chosen})
    assert now(ours).status == Status.SCHEDULED
    assert now(other).status == Status.CANCELLED


def test_nobody_acts_on_another_accounts_commands_or_without_the_forms_token(
    ours: ScheduledCommand, theirs: ScheduledCommand, boss: Client
) -> None:
    for verb in ("cancel", "retry"):
        told = boss.post(f"{COMMANDS}{theirs.pk}/{verb}/", follow=True).content.decode()
        assert "no longer there" in told
    boss.handler.enforce_csrf_checks = True
    assert boss.post(f"{COMMANDS}{ours.pk}/cancel/").status_code == 403
    assert boss.post(f"{COMMANDS}add/", asked()).status_code == 403
    assert now(ours).status == now(theirs).status == Status.SCHEDULED
    assert ScheduledCommand.objects.count() == 2


def test_nothing_of_a_command_is_edited_or_deleted_by_hand(ours: ScheduledCommand) -> None:
    chief = staff("chief", "default", superuser=True)
    assert chief.post(own_page(ours), {"command_type": "x"}).status_code == 403
    assert chief.post(f"{COMMANDS}{quote(ours.pk)}/delete/", {"post": "yes"}).status_code == 403
    assert now(ours).command_type == "ours_type"


# --- Sending ---


def test_a_command_is_sent_once_however_often_the_form_is_sent(boss: Client) -> None:
    answer = boss.post(f"{COMMANDS}add/", asked(deliver_at_0="2030-01-02", deliver_at_1="03:04:05"))
    command = ScheduledCommand.objects.get()
    assert answer["Location"] == own_page(command)
    boss.post(f"{COMMANDS}add/", asked(deliver_at_0="2030-01-02", deliver_at_1="03:04:05"))
    assert ScheduledCommand.objects.count() == 1
    assert (command.agent.agent_id, command.account.slug) == ("edge_new", "default")
    assert (command.created_by, command.payload) == ("boss", {"text": "hello"})
    assert command.deliver_at.isoformat() == "2030-01-02T03:04:05+00:00"
    assert LogEntry.objects.filter(user__username="boss", object_id=command.pk).exists()

    page = boss.post(f"{COMMANDS}add/", asked(command_type="set_rule")).content.decode()
    assert "has sent another command already" in page
    key = re.search(r'name="idempotency_key" value="([^"]+)"', page)
    assert key and key[1] != "form-1"
    boss.post(f"{COMMANDS}add/", asked(command_type="set_rule", idempotency_key=key[1]))
    assert ScheduledCommand.objects.count() == 2


@pytest.mark.parametrize(
    ("fields", "name", "words"),
    [
        ({"payload": "{"}, "payload", "This is not JSON"),
        ({"payload": "[1]"}, "payload", "it must be a JSON object"),
        ({"payload": "[" * 100_000}, "payload", "This is not JSON"),
        ({"payload": json.dumps({"a": "x" * 300_000})}, "payload", "it takes up to 262144"),
        ({"agent_id": "a\u0007b"}, "agent_id", "must not contain control characters"),
        ({"command_type": ""}, "command_type", "This field is required"),
        ({"expires_at_0": "2001-01-01", "expires_at_1": "00:00"}, "expires_at", "in the future"),
        ({"deliver_at_0": "1999-01-01", "deliver_at_1": "00:00"}, "deliver_at", "lies outside"),
        ({"deliver_at_0": "soon", "deliver_at_1": "00:00"}, "deliver_at", "Enter a valid date"),
        ({"delivery": "sometimes"}, "delivery", "Select a valid choice"),
    ],
)
def test_a_refusal_stands_at_its_field(
    boss: Client, fields: dict[str, str], name: str, words: str
) -> None:
    page = boss.post(f"{COMMANDS}add/", asked(**fields)).content.decode()
    error = re.search(rf'class="[^"]*\bfield-{name}\b.*?errorlist.*?<li>(.*?)</li>', page, re.S)
    assert error and words in error[1], error and error[1]
    assert not ScheduledCommand.objects.exists()


def test_only_superusers_choose_the_account(boss: Client, theirs: ScheduledCommand) -> None:
    other = str(theirs.account_id)
    assert 'name="tenant"' not in text_of(boss, f"{COMMANDS}add/")
    boss.post(f"{COMMANDS}add/", asked(tenant=other))
    assert ScheduledCommand.objects.get(agent__agent_id="edge_new").account.slug == "default"
    chief = staff("chief", "default", superuser=True)
    chief.post(f"{COMMANDS}add/", asked(tenant=other, agent_id="edge_far"))
    assert ScheduledCommand.objects.get(agent__agent_id="edge_far").account.slug == "other"


def test_an_agents_send_button_fills_the_form(ours: ScheduledCommand, boss: Client) -> None:
    link = re.search(r'class="button send" href="([^"]+)"', text_of(boss, AGENTS))
    assert link and 'value="edge_ours"' in text_of(boss, link[1].replace("&amp;", "&"))


# --- Many at once ---


def test_a_bulk_shows_how_far_it_is_and_can_be_stopped(alice: Principal, boss: Client) -> None:
    for name in ("edge_a", "edge_b", "edge_c", "mac_1"):
        queue(alice, name)
    before = ScheduledCommand.objects.count()
    answer = boss.post(f"{BULKS}add/", asked(pattern="edge_?", command_type="set_rule"))
    row = BulkSend.objects.get()
    assert answer["Location"] == own_page(row, BULKS)
    assert (row.agent_ids, row.created_by) == (["edge_a", "edge_b", "edge_c"], "boss")
    assert LogEntry.objects.filter(user__username="boss", object_id=str(row.pk)).exists()

    assert bulk.work(at_a_time=2)
    page = text_of(boss, own_page(row, BULKS))
    assert '<progress max="3" value="2"' in page and "2 of 3" in page
    assert '<noscript><meta http-equiv="refresh"' in page
    assert f"{BULKS}{row.pk}/stop/" in page
    boss.post(f"{BULKS}{row.pk}/stop/")
    assert not bulk.work()
    page = text_of(boss, own_page(row, BULKS))
    assert "Stopped." in page and "http-equiv" not in page
    assert ScheduledCommand.objects.count() == before + 2
    assert '<progress max="3" value="2"' in text_of(boss, BULKS)


def test_a_bulk_that_nobody_fits_is_refused_at_its_field(boss: Client) -> None:
    page = boss.post(f"{BULKS}add/", asked(pattern="nobody*")).content.decode()
    assert "no agent that is let in fits it" in page
    assert not BulkSend.objects.exists()


def test_a_bulk_reaches_only_the_accounts_own_agents(
    ours: ScheduledCommand, theirs: ScheduledCommand, boss: Client
) -> None:
    boss.post(f"{BULKS}add/", asked(pattern="*"))
    while bulk.work():
        pass
    sent = ScheduledCommand.objects.filter(command_type="send_message_now")
    assert [one.agent.agent_id for one in sent] == ["edge_ours"]
    row = BulkSend.objects.get()
    carol = staff("carol", "other")
    assert "no longer there" in carol.post(f"{BULKS}{row.pk}/stop/", follow=True).content.decode()


# --- Agents ---


def opens(secret: str, agent_id: str = "edge_ours") -> bool:
    try:
        doors.recognise(credential=AgentSecret(agent_id=agent_id, bearer=secret, address="::1"))
    except BadCredentials:
        return False
    return True


def secret_in(page: str) -> str:
    found = re.search(r"shown this once: (gwe_[\w-]+)", page)
    assert found, page
    return found[1]


def test_agents_show_their_state_their_queue_and_what_they_say(
    ours: ScheduledCommand, boss: Client
) -> None:
    assert "offline" in rows_in(text_of(boss, AGENTS))
    agent = Agent("edge_ours")
    agent.connect()
    EdgeAgent.objects.filter(agent_id="edge_ours").update(status={"uptime_seconds": 3600})
    table = rows_in(text_of(boss, AGENTS, online="yes"))
    assert "online" in table and "uptime_seconds: 3600" in table
    assert "status=open&amp;agent=edge_ours" in table and ">1</a>" in table
    assert rows_in(text_of(boss, AGENTS, online="no")) == ""
    page = text_of(boss, own_page(agent.row, AGENTS))
    assert "<dt>uptime_seconds</dt><dd>3600</dd>" in page
    assert own_page(ours) in page, "its newest commands"


def test_a_secret_is_shown_once_and_the_one_before_opens_as_long_as_was_chosen(
    ours: ScheduledCommand, boss: Client
) -> None:
    url = f"{AGENTS}{ours.agent_id}/rotate/"
    first = secret_in(boss.post(url, {"overlap": "0"}, follow=True).content.decode())
    assert opens(first) and not opens(first, "edge_else")
    second = secret_in(boss.post(url, {"overlap": "12"}, follow=True).content.decode())
    assert opens(first) and opens(second)
    page = text_of(boss, own_page(ours.agent, AGENTS))
    assert "gwe_" not in page and "The one before opens until" in page
    third = secret_in(boss.post(url, {"overlap": "0"}, follow=True).content.decode())
    assert [opens(one) for one in (first, second, third)] == [False, False, True]
    assert "takes 12, 168, 0" in boss.post(url, {"overlap": "1"}, follow=True).content.decode()
    entries = LogEntry.objects.filter(object_id=str(ours.agent_id))
    assert [entry.user.username for entry in entries] == ["boss"] * 3
    assert not any("gwe_" in str(entry.__dict__) for entry in entries)


def test_an_agent_is_added_with_a_secret_of_its_own(boss: Client, ours: ScheduledCommand) -> None:
    page = boss.post(f"{AGENTS}add/", {"agent_id": "edge_fresh"}, follow=True).content.decode()
    assert opens(secret_in(page), "edge_fresh")
    page = boss.post(f"{AGENTS}add/", {"agent_id": "edge_ours"}).content.decode()
    assert "known already" in page and "gwe_" not in page


def test_deactivating_shuts_an_agent_out_and_activating_lets_it_in(
    ours: ScheduledCommand, boss: Client
) -> None:
    url = f"{AGENTS}{ours.agent_id}/"
    secret = secret_in(boss.post(f"{url}rotate/", {"overlap": "0"}, follow=True).content.decode())
    boss.post(f"{url}deactivate/")
    assert not opens(secret)
    target = addresses.handle("agent:default:edge_ours").pack()
    ended = Announcement.objects.filter(event__name=DISCONNECT)
    assert [target] in [row.addresses for row in ended]
    assert "shut out" in rows_in(text_of(boss, AGENTS))
    boss.post(AGENTS, {"action": "activate_selected", "_selected_action": [ours.agent_id]})
    assert opens(secret)


def test_nobody_touches_another_accounts_agents(theirs: ScheduledCommand, boss: Client) -> None:
    before = EdgeAgent.objects.values().get(pk=theirs.agent_id)
    for verb in ("rotate", "deactivate"):
        url = f"{AGENTS}{theirs.agent_id}/{verb}/"
        told = boss.post(url, {"overlap": "0"}, follow=True).content.decode()
        assert "no longer there" in told and "gwe_" not in told
        operator = staff(f"olga-{verb}", "other", role="operator")
        assert operator.post(url, {"overlap": "0"}).status_code == 403
    assert EdgeAgent.objects.values().get(pk=theirs.agent_id) == before


# --- All pages ---


def test_the_pages_ask_the_database_a_fixed_number_of_times(
    alice: Principal, django_assert_max_num_queries: Any
) -> None:
    for number in range(20):
        queue(alice, f"edge_{number}")
    bulk.start(principal=alice, pattern="*", command_type="x", payload={})
    chief = staff("chief", "default", superuser=True)
    for path in PAGES:
        with django_assert_max_num_queries(16):
            text_of(chief, path)


def test_no_page_has_a_style_or_a_handler_of_its_own(ours: ScheduledCommand, boss: Client) -> None:
    pages = [COMMANDS, AGENTS, f"{COMMANDS}add/", own_page(ours), own_page(ours.agent, AGENTS)]
    for path in pages:
        page = text_of(boss, path)
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script>", page), path
    assert "<polyline points=" in text_of(boss, COMMANDS)
