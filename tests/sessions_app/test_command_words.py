"""A command's page says in words what it waits for, what a step means, whether it is done."""

from __future__ import annotations

import datetime as dt
import re

from django.contrib.admin.utils import quote
from django.test import Client

from accounts.models import EdgeAgent
from realtime.core.principal import Principal
from sessions_app.admin.steps import MEANINGS
from sessions_app.models import ScheduledCommand, Status
from sessions_app.services import clock
from tests.sessions_app.edge import Agent, queue
from tests.sessions_app.test_admin import staff


def words(client: Client, command: ScheduledCommand) -> list[str]:
    """What stands beside the state, then what stands at each step."""
    answer = client.get(f"/admin/sessions_app/scheduledcommand/{quote(command.pk)}/change/")
    assert answer.status_code == 200
    return re.findall(r'<span class="means">(.*?)</span>', answer.content.decode())


def test_what_waits_says_for_what(alice: Principal) -> None:
    boss, agent = staff("boss", "default"), Agent()
    due = queue(alice)
    later = queue(alice, deliver_at=clock.now() + dt.timedelta(hours=1))
    assert words(boss, due) == ["waits for its agent, which is offline", "put into the queue"]
    assert words(boss, later)[0] == "held here until it is due"
    agent.connect()
    assert words(boss, due)[0] == "about to be sent"
    EdgeAgent.objects.update(is_active=False)
    assert words(boss, due)[0] == "its agent is shut out"


def test_taken_over_is_not_done(alice: Principal) -> None:
    boss, agent, command = staff("boss", "default"), Agent(), queue(alice)
    agent.connect()
    agent.take_due()
    assert words(boss, command)[0].endswith("waits for its acknowledgement")
    agent.ack(command, "completed")
    taken_over = "the agent has taken it over, and says again when it is done"
    assert [words(boss, command)[number] for number in (0, -1)] == [taken_over] * 2
    agent.ack(command, "completed", completed_at="2025-11-15T18:30:00.000Z")
    assert words(boss, command)[0] == "the agent has done it"
    assert words(boss, command)[-2:] == [taken_over, "the agent has done it"]


def test_one_acknowledgement_with_a_time_is_done(alice: Principal) -> None:
    boss, agent, command = staff("boss", "default"), Agent(), queue(alice)
    agent.connect()
    agent.take_due()
    agent.ack(command, "completed", completed_at="2025-11-15T18:30:00.000Z")
    assert words(boss, command)[0] == words(boss, command)[-1] == "the agent has done it"


def test_what_was_done_before_a_retry_does_not_count(alice: Principal) -> None:
    boss, agent, command = staff("boss", "default"), Agent(), queue(alice)
    agent.connect()
    agent.take_due()
    agent.ack(command, "completed", completed_at="2025-11-15T18:30:00.000Z")
    agent.ack(command, "failed", error="not after all")
    assert words(boss, command)[0] == "the agent could not do it"
    boss.post(f"/admin/sessions_app/scheduledcommand/{command.pk}/retry/")
    agent.take_due()
    agent.ack(command, "completed")
    assert words(boss, command)[0].startswith("the agent has taken it over")


def test_each_status_has_its_words() -> None:
    assert set(Status.values) <= set(MEANINGS)
