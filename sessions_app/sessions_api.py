"""002 over HTTP: sessions, what was said in them, saying something. Source: PROTOCOLS.md 3.6."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import (
    DeviceAuthentication,
    SessionKeyAuthentication,
    StaffSessionAuthentication,
    principal_of,
)
from accounts.permissions import Viewer
from accounts.serializers import Empty
from accounts.services import passes
from realtime.core import wire
from realtime.core.errors import InvalidParams, NotFound
from realtime.core.session_messages import Frame
from sessions_app import serializers
from sessions_app import sessions_serializers as shapes
from sessions_app.services import remote_sessions, talking, viewing, watchers
from sessions_app.services.ownership import shown_session

_ID = OpenApiParameter("session_id", str, OpenApiParameter.PATH)
_ORGANIZATION = OpenApiParameter("organization", str, OpenApiParameter.PATH)
_ENVIRONMENT = OpenApiParameter("environment", str, OpenApiParameter.PATH)
_AFTER = OpenApiParameter("after_id", str)
_LIMIT = OpenApiParameter("limit", int)
_ERRORS = {400: serializers.ErrorBody, 404: serializers.ErrorBody}


class SessionsView(APIView):
    authentication_classes = (
        SessionKeyAuthentication,
        DeviceAuthentication,
        StaffSessionAuthentication,
    )
    permission_classes = (Viewer,)


class Sessions(SessionsView):
    @extend_schema(
        operation_id="sessions_list",
        parameters=[_LIMIT, OpenApiParameter("before", str), _AFTER],
        responses={200: shapes.RemoteSessions, **_ERRORS},
    )
    def get(self, request: Request) -> Response:
        """The caller's sessions, an administrator's all of the account, newest first."""
        asked = request.query_params
        found = remote_sessions.list_(
            principal=principal_of(request),
            limit=_limit(request, 20),
            before=asked.get("before", ""),
            after_id=asked.get("after_id", ""),
        )
        return Response(found)

    @extend_schema(
        operation_id="sessions_create",
        request=shapes.NewRemoteSession,
        responses={200: shapes.RemoteSession, **_ERRORS},
    )
    def post(self, request: Request) -> Response:
        """A new session, and what is said in it first."""
        body = _body(request)
        made = remote_sessions.create(
            principal=principal_of(request),
            title=_text(body, "title"),
            agent=_text(body, "agent"),
            environment_id=_text(body, "environment_id"),
            session_context=_object(body, "session_context"),
            events=_events(body),
        )
        return Response(made)


class Session(SessionsView):
    @extend_schema(
        operation_id="sessions_read",
        parameters=[_ID],
        responses={200: shapes.RemoteSession, **_ERRORS},
    )
    def get(self, request: Request, session_id: str) -> Response:
        """One session."""
        who = principal_of(request)
        return Response(remote_sessions.read(principal=who, session_id=session_id))

    @extend_schema(
        operation_id="sessions_change",
        parameters=[_ID],
        request=shapes.SessionChange,
        responses={200: shapes.RemoteSession, **_ERRORS},
    )
    def patch(self, request: Request, session_id: str) -> Response:
        """Rename a session, archive it (`archived`) or take it out again (`idle`)."""
        body = _body(request)
        named = [name for name in ("title", "session_status") if body.get(name) is not None]
        given = {name: _text(body, name) for name in named}
        who = principal_of(request)
        return Response(remote_sessions.change(principal=who, session_id=session_id, **given))


class Archive(SessionsView):
    @extend_schema(
        operation_id="sessions_archive",
        parameters=[_ID],
        request=None,
        responses={200: shapes.RemoteSession, 409: serializers.ErrorBody, **_ERRORS},
    )
    def post(self, request: Request, session_id: str) -> Response:
        """Put a session away; 409 when it is already."""
        who = principal_of(request)
        return Response(remote_sessions.archive(principal=who, session_id=session_id))


class Events(SessionsView):
    @extend_schema(
        operation_id="sessions_events_list",
        parameters=[_ID, _AFTER, _LIMIT],
        responses={200: shapes.SessionEvents, **_ERRORS},
    )
    def get(self, request: Request, session_id: str) -> Response:
        """The session's log, oldest first, in the frames of the socket."""
        found = remote_sessions.events(
            principal=principal_of(request),
            session_id=session_id,
            after_id=request.query_params.get("after_id", ""),
            limit=_limit(request, viewing.PAGE_EVENTS),
        )
        return Response(found)

    @extend_schema(
        operation_id="sessions_events_create",
        parameters=[_ID],
        request=shapes.SaidInSession,
        responses={200: Empty, **_ERRORS},
    )
    def post(self, request: Request, session_id: str) -> Response:
        """Say, ask or answer something; answers come to the session's sockets."""
        said = _events(_body(request))
        talking.take(principal=principal_of(request), session_id=session_id, said=said)
        return Response({})


class Pass(SessionsView):
    @extend_schema(
        operation_id="sessions_pass",
        parameters=[_ID],
        request=None,
        responses={204: None, **_ERRORS},
    )
    def post(self, request: Request, session_id: str) -> Response:
        """A cookie that opens the session's socket for a minute, for pages."""
        who = principal_of(request)
        session = shown_session(who, session_id)
        answer = Response(status=status.HTTP_204_NO_CONTENT)
        answer.set_cookie(
            "sessionKey",
            passes.issue(principal=who),
            max_age=passes.LIFETIME_S,
            path=f"/v1/sessions/ws/{session.public_id}",
            secure=request.is_secure(),
            httponly=True,
            samesite="Strict",
        )
        return answer


class Watchers(SessionsView):
    @extend_schema(
        operation_id="sessions_watchers",
        parameters=[_ID],
        responses={200: shapes.Watchers, **_ERRORS},
    )
    def get(self, request: Request, session_id: str) -> Response:
        """Who watches the session now, and who works in it; its agent, and its name in 001."""
        found = watchers.here(principal=principal_of(request), session_id=session_id)
        return Response(found)


class Share(SessionsView):
    @extend_schema(
        operation_id="sessions_share_status",
        parameters=[_ID],
        responses={200: shapes.ShareStatus, **_ERRORS},
    )
    def get(self, request: Request, session_id: str) -> Response:
        """Sessions are not shared."""
        shown_session(principal_of(request), session_id)
        return Response({"is_shared": False})


class Environments(SessionsView):
    @extend_schema(
        operation_id="environments_list",
        parameters=[_ORGANIZATION],
        responses={200: shapes.Environments, **_ERRORS},
    )
    def get(self, request: Request, organization: str) -> Response:
        """Where sessions run: here."""
        _check_organization(request, organization)
        found = remote_sessions.page(remote_sessions.environments(), "environment_id")
        return Response({"environments": found.pop("data"), **found})


class Environment(SessionsView):
    @extend_schema(
        operation_id="environments_read",
        parameters=[_ORGANIZATION, _ENVIRONMENT],
        responses={200: shapes.Environment, **_ERRORS},
    )
    def get(self, request: Request, organization: str, environment: str) -> Response:
        """One of them."""
        _check_organization(request, organization)
        for one in remote_sessions.environments():
            if one["environment_id"] == environment:
                return Response(one)
        raise NotFound(f"environment not found: {environment}")


def _check_organization(request: Request, organization: str) -> None:
    who = principal_of(request)
    if organization not in (who.account, who.account_id):
        raise NotFound(f"organization not found: {organization}")


def _body(request: Request) -> Frame:
    if not isinstance(request.data, dict):
        raise InvalidParams("the body must be a JSON object")
    body: Frame = request.data
    wire.check(body)
    return body


def _text(body: Frame, name: str) -> str:
    given = body.get(name)
    if given is not None and not isinstance(given, str):
        raise InvalidParams(f"{name} takes a text")
    return given or ""


def _object(body: Frame, name: str) -> Frame:
    given = body.get(name)
    if given is not None and not isinstance(given, dict):
        raise InvalidParams(f"{name} takes an object")
    return given or {}


def _events(body: Frame) -> list[Any]:
    given = body.get("events")
    if given is None:
        return []
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise InvalidParams("events takes a list of objects")
    return given


def _limit(request: Request, default: int) -> int:
    given = request.query_params.get("limit", "")
    if not given:
        return default
    if not (given.isascii() and given.isdigit() and len(given) <= 9):
        raise InvalidParams("limit takes a number")
    return int(given)
