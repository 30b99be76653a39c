"""Questions of workers in the admin: who sees and answers them."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry

from realtime.core.principal import Principal
from sessions_app.models import ControlRequest, Session
from sessions_app.services import questions
from tests.sessions_app.test_admin import staff
from tests.sessions_app.worker import hold, question, says

LIST = "/admin/sessions_app/controlrequest/"


@pytest.fixture
def asked(worker: Principal, node: str, session: Session) -> ControlRequest:
    hold(worker, node)
    says(worker, question())
    return ControlRequest.objects.get()


def test_an_administrator_allows_and_it_is_in_the_journal(asked: ControlRequest, told: Any) -> None:
    client = staff("boss", "default")
    page = client.get(LIST).content.decode()
    assert "Bash" in page and "Allow" in page
    assert client.get(f"{LIST}{asked.pk}/change/").status_code == 200
    assert client.get(f"{LIST}{asked.pk}/allow/").status_code == 405
    answer = client.post(f"{LIST}{asked.pk}/allow/", follow=True).content.decode()
    assert "Allowed Bash." in answer
    [(_, event)] = told("session.work")
    inner = event.data["frame"]["response"]["response"]
    assert inner == {"behavior": "allow", "updatedInput": {}}
    assert LogEntry.objects.get().change_message == "allowed by boss (session)"
    again = client.post(f"{LIST}{asked.pk}/deny/", follow=True).content.decode()
    assert "Nothing done: boss has settled it already." in again
    assert ControlRequest.objects.get().decided_by == "boss"


def test_an_administrator_denies(asked: ControlRequest, told: Any) -> None:
    client = staff("boss", "default")
    client.post(f"{LIST}{asked.pk}/deny/")
    [(_, event)] = told("session.work")
    inner = event.data["frame"]["response"]["response"]
    assert inner == {"behavior": "deny", "message": "Denied by boss."}


@pytest.mark.parametrize(
    ("role", "account", "shown"), [("operator", "default", 403), ("admin", "other", 302)]
)
def test_nobody_else_does(asked: ControlRequest, role: str, account: str, shown: int) -> None:
    client = staff("someone", account, role=role)
    assert client.post(f"{LIST}{asked.pk}/allow/").status_code == shown
    assert ControlRequest.objects.get().status == "pending"


def test_what_a_viewer_asks_is_no_question_of_these(session: Session, alice: Principal) -> None:
    row = ControlRequest.objects.create(
        session=session, asker="viewer", request_id="c", request={"subtype": "can_use_tool"}
    )
    client = staff("boss", "default")
    assert "0 control requests" in client.get(LIST).content.decode()
    client.post(f"{LIST}{row.pk}/allow/")
    assert ControlRequest.objects.get().status == "pending"


def test_a_question_that_is_not_for_leave_has_no_buttons(
    worker: Principal, node: str, session: Session
) -> None:
    hold(worker, node)
    hook = {"subtype": "hook_callback", "callback_id": "h"}
    says(worker, {"type": "control_request", "request_id": "q", "request": hook})
    client = staff("boss", "default")
    assert "Allow" not in client.get(LIST).content.decode()
    assert questions.pending(session)
