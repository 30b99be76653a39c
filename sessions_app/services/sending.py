"""`chat.send`: start a run, or talk into the one that is under way. Source: PROTOCOLS.md 2.7."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Q

from realtime.bus.announce import announce
from realtime.core import addresses
from realtime.core.events import Event
from realtime.core.principal import Principal
from sessions_app import agents
from sessions_app.models import Media, Run, Session, SessionEvent
from sessions_app.services import agent_choice, log, runs, session_frames, workers
from sessions_app.services import media as uploads
from sessions_app.services.fields import KEY_LENGTH, NAME_LENGTH, check_length, require
from sessions_app.services.ownership import find_owned, open_session
from sessions_app.services.sent import Outcome, Sent

CANCEL_WORDS = frozenset(
    ["stop", "cancel", "abort", "nevermind", "never mind", "thôi", "dừng", "hủy", "取消", "停"]
)


@dataclass(frozen=True, slots=True)
class _Message:
    """What is to be stored, once for each `message_id` or `uuid`."""

    text: str
    author: str
    message_id: str
    attached: list[Media]
    frame: dict[str, Any] | None
    uuid: str

    @property
    def words(self) -> str:
        return uploads.tagged(self.text, self.attached) if self.attached else self.text

    def store(
        self,
        session: Session,
        run: Run | None = None,
        *,
        work: dict[str, Any] | None = None,
        injected: bool = False,
    ) -> None:
        """`work`: it is the worker's to answer; what its process needs to know of the run."""
        data: dict[str, Any] = {}
        if injected:
            data["injected"] = True
        if work is not None:
            data["work"] = True
        if self.frame is not None:
            data["frame"] = session_frames.bare(self.frame)
        if self.attached:
            data["media_refs"] = [row.reference() for row in self.attached]
        log.append(
            session,
            kind=SessionEvent.Kind.USER,
            author=self.author,
            content=self.words,
            data=data,
            message_id=self.message_id,
            run=run,
            event_uuid=self.uuid,
            work=work,
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
    frame: dict[str, Any] | None = None,
    event_uuid: str = "",
) -> Sent:
    """Start a run on `node` with a message, or give the message to the run that is under way.

    A key that does not exist yet makes a session for the caller. A message with media is never
    injected. `frame` and `event_uuid` are 002's: words in a frame are never a command to cancel,
    and the uuid tells a repetition as `message_id` does.
    Raises InvalidParams, NotFound (agent, media), NotOwner.
    """
    _check(principal, message, session_key, agent_id, message_id, with_more=bool(media or frame))
    attached = uploads.attached(principal=principal, media=media)
    session = find_owned(principal, session_key, lock=True) if session_key else None
    told_agent_id = _agent_id(session, session_key, agent_id)
    # What 002 says is stored first: that its agent is gone is how its turn ends.
    choose = agent_choice.resolve if frame is None else agent_choice.key_of
    agent = choose(agent_id or (session.agent if session else told_agent_id))
    if session is None:
        key = session_key or f"agent:{told_agent_id}:ws:direct:{uuid.uuid4()}"
        session = open_session(principal=principal, key=key, agent=told_agent_id)
    said = _Message(message, principal.id, message_id, attached, frame, event_uuid)
    before = _before(session, said)
    if before is not None:
        return _again(session, before, told_agent_id)
    running = runs.active(session)
    if running is not None and attached:
        return _busy(running, session)
    if running is not None:
        return _into(running, session, said)
    worked_at = workers.holder(session)
    if agent == agents.WORKER and not worked_at:
        return _waiting(session, said, told_agent_id)
    run = Run.objects.create(
        session=session,
        agent_id=told_agent_id,
        agent=agents.WORKER if worked_at else agent,
        node=worked_at or node,
        connection=connection,
        message_id=message_id,
        requested_by=principal.id,
        stream=stream,
    )
    return _started(run, session, said)


def _check(
    principal: Principal,
    message: str,
    session_key: str,
    agent_id: str,
    message_id: str,
    *,
    with_more: bool,
) -> None:
    require(principal.id, "user_id")
    if not with_more:
        require(message.strip(), "message")
    check_length(principal.id, "user_id", NAME_LENGTH)
    check_length(session_key, "sessionKey", KEY_LENGTH)
    check_length(agent_id, "agentId", NAME_LENGTH)
    check_length(message_id, "messageId", NAME_LENGTH)


def _agent_id(session: Session | None, session_key: str, agent_id: str) -> str:
    """What the run's events call the agent: as the client named it, here or in the key."""
    stored = session.agent if session else ""
    return agent_id or agent_choice.in_key(session_key) or stored or agents.DEFAULT


def _before(session: Session, said: _Message) -> SessionEvent | None:
    """The event that has stored this message already."""
    if not said.message_id and not said.uuid:
        return None
    same = Q(message_id=said.message_id) if said.message_id else Q(uuid=said.uuid)
    return session.events.filter(same).select_related("run").first()


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
        again=True,
    )


def _into(run: Run, session: Session, said: _Message) -> Sent:
    """A message for a run that is under way: a cancel word, or one more text for the agent."""
    outcome: Outcome
    if said.frame is None and said.text.strip().lower() in CANCEL_WORDS:
        outcome, result = "cancelled", {"cancelled": True, "aborted": runs.request_abort(run)}
    else:
        said.store(session, run, injected=True, work={} if run.agent == agents.WORKER else None)
        text = {"run": str(run.pk), "text": said.text}
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


def _waiting(session: Session, said: _Message, agent_id: str) -> Sent:
    """Only a worker answers in this session, and there is none: the message waits in the log."""
    said.store(session, work={})
    return Sent(
        outcome="injected",
        session_key=session.key,
        agent_id=agent_id,
        result={"injected": True},
    )


def _started(run: Run, session: Session, said: _Message) -> Sent:
    worked = run.agent == agents.WORKER
    said.store(session, run, work=workers.template(run, session) if worked else None)
    of = runs.facts(run, session)
    return Sent(
        outcome="handed" if worked else "started",
        session_key=session.key,
        agent_id=run.agent_id,
        started_announcement=announce(
            runs.audience(of), runs.event(of, "run.started", {"message": said.words})
        ),
        run=of,
        message=said.words,
        model=session.model,
    )
