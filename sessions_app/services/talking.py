"""What a viewer says in a session: stored, then answered as `chat.send` is. PROTOCOLS.md 3.4."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from accounts.services import scopes
from realtime.core.principal import Principal
from sessions_app.services import sending, session_frames
from sessions_app.services.ownership import named_session
from sessions_app.services.sent import Sent


@transaction.atomic
def say(
    *,
    principal: Principal,
    node: str,
    session_id: str,
    frame: dict[str, Any],
    event_uuid: str = "",
) -> Sent:
    """A `user` frame; the same uuid again changes nothing.

    Raises NotFound, NotOwner, RoleTooLow.
    """
    scopes.require_to_act(principal, "operator.write", "saying something")
    session = named_session(principal, session_id, lock=True)
    return sending.send(
        principal=principal,
        node=node,
        session_key=session.key,
        message=session_frames.text_of(frame),
        stream=True,
        frame=frame,
        event_uuid=event_uuid,
    )
