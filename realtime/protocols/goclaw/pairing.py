"""001's pairing of browsers and devices. Source: PROTOCOLS.md 2.5, 2.6."""

from __future__ import annotations

from typing import Any

from realtime.core import operations as ops
from realtime.core.errors import InvalidParams
from realtime.core.operations import Operation
from realtime.protocols.goclaw.requests import Caller, Handler, NoParams, Params, required


class StatusParams(Params, frozen=True, rename=None):
    sender_id: str = ""


def _status(p: StatusParams, caller: Caller) -> Operation:
    return ops.ReadPairing(sender_id=required(p.sender_id, "sender_id"), address=caller.address)


class RequestParams(Params, frozen=True):
    sender_id: str = ""
    channel: str = ""
    chat_id: str = ""
    account_id: str = "default"


def _request(p: RequestParams, caller: Caller) -> Operation:
    if not p.sender_id or not p.channel:
        raise InvalidParams("senderId and channel are required")
    return ops.RequestPairing(
        sender_id=p.sender_id,
        channel=p.channel,
        chat_id=p.chat_id,
        account_id=p.account_id,
        address=caller.address,
    )


class CodeParams(Params, frozen=True):
    code: str = ""
    approved_by: str = ""


def _approve(p: CodeParams, caller: Caller) -> Operation:
    return ops.ApprovePairing(code=required(p.code, "code"), approved_by=p.approved_by)


def _deny(p: CodeParams, caller: Caller) -> Operation:
    return ops.DenyPairing(code=required(p.code, "code"))


class RevokeParams(Params, frozen=True):
    """goclaw-cli sends `{id}`."""

    sender_id: str = ""
    id: str = ""
    channel: str = ""


def _revoke(p: RevokeParams, caller: Caller) -> Operation:
    if p.sender_id and not p.channel:
        raise InvalidParams("senderId and channel are required")
    sender_id = required(p.sender_id or p.id, "senderId")
    return ops.RevokePairing(sender_id=sender_id, channel=p.channel or "browser")


PAIRING: dict[str, Handler[Any]] = {
    "browser.pairing.status": Handler(StatusParams, _status),
    "device.pair.request": Handler(RequestParams, _request),
    "device.pair.approve": Handler(CodeParams, _approve),
    "device.pair.deny": Handler(CodeParams, _deny),
    "device.pair.list": Handler(NoParams, lambda p, caller: ops.ListPairings()),
    "device.pair.revoke": Handler(RevokeParams, _revoke),
}
