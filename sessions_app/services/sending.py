"""`chat.send`: start a run, or talk into the one that is under way. Source: PROTOCOLS.md 2.7."""

from __future__ import annotations

import uuid

from django.db import transaction

from realtime.bus.announce import announce
from realtime.core import addresses
from realtime.core.events import Event
from realtime.core.principal import Principal
from sessions_app import agents
from sessions_app.models import Media, Run, Session, SessionEvent
from sessions_app.services import agent_choice, log, runs
from sessions_app.services import media as uploads
from sessions_app.services.fields import KEY_LENGTH, NAME_LENGTH, check_length, require
from sessions_app.services.ownership import find_owned, open_session
from sessions_app.services.sent import Outcome, Sent

CANCEL_WORDS = frozenset(
    ["stop", "cancel", "abort", "nevermind", "never mind", "thôi", "dừng", "hủy", "取消", "停"]
)


@transaction.atomic
def send(
    *,
    principal: Principal,
    node: str,
    message: str,
    session_key: str = "",
    agent_id: str = "",
    message_id: str = "",
    stream: bool = False,
    media: tuple[dict[str, str], ...] = (),
    connection: str = "",
) -> Sent:
    """Start a run on `node` with a message, or give the message to the run that is under way.

    A key that does not exist yet makes a session for the caller. A message with media is never
    injected. Raises InvalidParams, NotFound (agent, media), NotOwner.
    """
    _check(principal, message, session_key, agent_id, message_id, media)
    attached = uploads.attached(principal=principal, media=media)
    session = find_owned(principal, session_key, lock=True) if session_key else None
    told_agent_id = _agent_id(session, session_key, agent_id)
    agent = agent_choice.resolve(agent_id or (session.agent if session else told_agent_id))
    if session is None:
        key = session_key or f"agent:{told_agent_id}:ws:direct:{uuid.uuid4()}"
        session = open_session(principal=principal, key=key, agent=told_agent_id)
    if message_id:
        before = session.events.filter(message_id=message_id).select_related("run").first()
        if before is not None:
            return _again(session, before, told_agent_id)
    running = runs.active(session)
    if running is not None and attached:
        return _busy(running, session)
    if running is not None:
        return _into(running, session, principal, message, message_id)
    run = Run.objects.create(
        session=session,
        agent_id=told_agent_id,
        agent=agent,
        node=node,
        connection=connection,
        message_id=message_id,
        requested_by=principal.id,
        stream=stream,
    )
    return _started(run, session, principal, message, attached)


def _check(
    principal: Principal,
    message: str,
    session_key: str,
    agent_id: str,
    message_id: str,
    media: tuple[dict[str, str], ...],
) -> None:
    require(principal.id, "user_id")
    if not media:
        require(message.strip(), "message")
    check_length(principal.id, "user_id", NAME_LENGTH)
    check_length(session_key, "sessionKey", KEY_LENGTH)
    check_length(agent_id, "agentId", NAME_LENGTH)
    check_length(message_id, "messageId", NAME_LENGTH)


def _agent_id(session: Session | None, session_key: str, agent_id: str) -> str:
    """What the run's events call the agent: as the client named it, here or in the key."""
    stored = session.agent if session else ""
    return agent_id or agent_choice.in_key(session_key) or stored or agents.DEFAULT


def _again(session: Session, before: SessionEvent, agent_id: str) -> Sent:
    """The same message id has come before."""
    outcome: Outcome
    run = before.run
    answer = run.answer() if run else None
    if run is None or before.data.get("injected"):
        outcome, answer = "injected", {"injected": True}
    elif answer is None:
        outcome = "repeated"
    else:
        outcome = "done"
    return Sent(
        outcome=outcome,
        session_key=session.key,
        agent_id=run.agent_id if run else agent_id,
        run=runs.facts(run, session) if run else None,
        result=answer or {},
    )


def _into(run: Run, session: Session, principal: Principal, message: str, message_id: str) -> Sent:
    """A message for a run that is under way: a cancel word, or one more text for the agent."""
    outcome: Outcome
    if message.strip().lower() in CANCEL_WORDS:
        outcome, result = "cancelled", {"cancelled": True, "aborted": runs.request_abort(run)}
    else:
        log.append(
            session,
            kind=SessionEvent.Kind.USER,
            author=principal.id,
            content=message,
            data={"injected": True},
            message_id=message_id,
            run=run,
        )
        text = {"run": str(run.pk), "text": message}
        announce(addresses.node(run.node), Event(runs.INJECT, text))
        outcome, result = "injected", {"injected": True}
    return Sent(
        outcome=outcome,
        session_key=session.key,
        agent_id=run.agent_id,
        run=runs.facts(run, session),
        result=result,
    )


def _busy(run: Run, session: Session) -> Sent:
    """PROTOCOLS.md 2.7: media bypasses injection."""
    return Sent(
        outcome="busy",
        session_key=session.key,
        agent_id=run.agent_id,
        run=runs.facts(run, session),
    )


def _started(
    run: Run, session: Session, principal: Principal, message: str, attached: list[Media]
) -> Sent:
    if attached:
        message = uploads.tagged(message, attached)
    log.append(
        session,
        kind=SessionEvent.Kind.USER,
        author=principal.id,
        content=message,
        data={"media_refs": [row.reference() for row in attached]} if attached else None,
        message_id=run.message_id,
        run=run,
    )
    of = runs.facts(run, session)
    return Sent(
        outcome="started",
        session_key=session.key,
        agent_id=run.agent_id,
        started_announcement=announce(
            runs.audience(of), runs.event(of, "run.started", {"message": message})
        ),
        run=of,
        message=message,
        model=session.model,
    )
