"""What a viewer says in a session: stored, then answered as `chat.send` is. PROTOCOLS.md 3.4."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from accounts.services import scopes
from realtime.core import session_messages as messages
from realtime.core.principal import Principal
from realtime.core.session_messages import Frame
from sessions_app.services import control, nodes, questions, runs, sending, session_frames
from sessions_app.services.ownership import named_session, shown_session
from sessions_app.services.sent import Sent

TO_SAY = ("operator.write", "saying something")


@transaction.atomic
def take(*, principal: Principal, session_id: str, said: list[Frame]) -> None:
    """What comes over HTTP: `user`, `control_request` and `control_response`, bare or in an
    `event`; others are ignored, as on a socket (3.6).

    Answers to requests are told to who watches. Raises NotFound, RoleTooLow, Unavailable.
    """
    session = shown_session(principal, session_id, lock=True)
    asked: dict[str, Any] = {"principal": principal, "session_id": session.public_id}
    for frame in map(_unwrapped, said):
        match frame.get("type"):
            case "user" if messages.has_words(frame):
                scopes.require_to_act(principal, *TO_SAY)
                node = nodes.any_live()
                uuid = messages.uuid_of(frame)
                sent = say(**asked, node=node, frame=frame, event_uuid=uuid)
                if sent.outcome == "started":
                    runs.hand_over(sent, node)
            case "control_request" if messages.is_request(frame):
                wanted = {"request_id": frame["request_id"], "request": frame["request"]}
                control.ask(**asked, **wanted)
            case "control_response" if messages.is_response(frame):
                response = frame["response"]
                questions.answer(**asked, request_id=response["request_id"], response=response)


def _unwrapped(frame: Frame) -> Frame:
    """`{"type": "event", "data": {…}}` is as good as what stands in it."""
    inner = frame.get("data")
    return inner if frame.get("type") == "event" and isinstance(inner, dict) else frame


@transaction.atomic
def say(
    *,
    principal: Principal,
    node: str,
    session_id: str,
    frame: dict[str, Any],
    event_uuid: str = "",
) -> Sent:
    """A `user` frame, whatever role it claims; the same uuid again changes nothing.

    Raises NotFound, NotOwner, RoleTooLow.
    """
    scopes.require_to_act(principal, *TO_SAY)
    session = named_session(principal, session_id, lock=True)
    return sending.send(
        principal=principal,
        node=node,
        session_key=session.key,
        message=session_frames.text_of(frame),
        stream=True,
        frame={**frame, "message": {**frame["message"], "role": "user"}},
        event_uuid=event_uuid,
    )
