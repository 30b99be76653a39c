"""What a peer may ask of the domain. Field names equal the service's keyword names (tested)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class SendChat:
    """PROTOCOLS.md 2.7 `chat.send`. `connection` is the asking connection's id."""

    message: str
    session_key: str = ""
    agent_id: str = ""
    message_id: str = ""
    stream: bool = False
    media: tuple[dict[str, str], ...] = ()
    connection: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadHistory:
    session_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectChat:
    session_key: str
    message: str
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AbortChat:
    session_key: str = ""
    run_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadChatStatus:
    session_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPairing:
    """PROTOCOLS.md 2.5 `browser.pairing.status`. `address` is the asking peer's network address."""

    sender_id: str = field(repr=False)
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPairing:
    sender_id: str = field(repr=False)
    channel: str
    chat_id: str = ""
    account_id: str = "default"
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovePairing:
    code: str = field(repr=False)
    approved_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DenyPairing:
    code: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPairings:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokePairing:
    sender_id: str = field(repr=False)
    channel: str = "browser"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListSessions:
    agent_id: str = ""
    channel: str = ""
    limit: int = 20
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewSession:
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchSession:
    key: str
    label: str | None = None
    model: str | None = None
    metadata: dict[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteSession:
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetSession:
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactSession:
    key: str
    keep_last: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadHealth:
    connection: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadStatus:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class ListAgents:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadAgent:
    agent_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AwaitAgent:
    agent_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentifyAgent:
    agent_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListTenants:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldAgent:
    """PROTOCOLS.md 1.6: `connection` is the agent's socket from now on."""

    connection: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeCommands:
    """The commands to be written to the agent's socket now, in order.

    `called`: something is known to wait; else that is looked at first.
    """

    connection: str
    called: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AcknowledgeCommand:
    """PROTOCOLS.md 1.3 `command_ack`, in either shape. `completed_at` as the agent wrote it.

    `result` is ours: any JSON that an agent has to show for what it did.
    """

    command_id: str
    status: str
    error: str = ""
    completed_at: str = ""
    result: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportStatus:
    """PROTOCOLS.md 1.3 `status`."""

    status: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListKeys:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateKey:
    """`expires_in` in seconds; None: never."""

    name: str
    key_scopes: tuple[str, ...] = ()
    expires_in: int | None = None
    owner_id: str = ""
    tenant_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeKey:
    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchSession:
    """PROTOCOLS.md 3.1: which session a viewer sees, and from which event on."""

    session_id: str
    replay: bool = False
    after_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadEvents:
    """The next stored events of a session, as many as fit a page; `work`: only the worker's."""

    session_id: str
    after_seq: int
    work: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SayInSession:
    """PROTOCOLS.md 3.4 `user`: stored first; the same `event_uuid` again changes nothing."""

    session_id: str
    frame: dict[str, Any]
    event_uuid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskControl:
    """PROTOCOLS.md 3.4 `control_request` of a viewer."""

    session_id: str
    request_id: str
    request: dict[str, Any]
    connection: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelControl:
    session_id: str
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerQuestion:
    """PROTOCOLS.md 3.4 `control_response` of a viewer, to a question of the worker."""

    session_id: str
    request_id: str
    response: dict[str, Any]
    connection: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldSession:
    """PROTOCOLS.md 6: `connection` is the socket of the session's worker from now on."""

    session_id: str
    connection: str
    replay: bool = False
    after_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkInSession:
    """What the worker says that is kept, asked or answered; `told`: the last event's number that
    it had been sent by then.
    """

    session_id: str
    connection: str
    frame: dict[str, Any]
    event_uuid: str = ""
    told: int = 0


Operation = (
    SendChat
    | ReadHistory
    | InjectChat
    | AbortChat
    | ReadChatStatus
    | ReadPairing
    | RequestPairing
    | ApprovePairing
    | DenyPairing
    | ListPairings
    | RevokePairing
    | ListSessions
    | PreviewSession
    | PatchSession
    | DeleteSession
    | ResetSession
    | CompactSession
    | ReadHealth
    | ReadStatus
    | ListAgents
    | ReadAgent
    | AwaitAgent
    | IdentifyAgent
    | ListTenants
    | HoldAgent
    | TakeCommands
    | AcknowledgeCommand
    | ReportStatus
    | ListKeys
    | CreateKey
    | RevokeKey
    | WatchSession
    | ReadEvents
    | SayInSession
    | AskControl
    | CancelControl
    | AnswerQuestion
    | HoldSession
    | WorkInSession
)
