"""What an edge agent calls over HTTP when it has no socket. Source: PROTOCOLS.md 1.7.

Its bearer is that of the socket, or made with RELAY_WEBHOOK_SECRET; failures count together.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AnonymousUser
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import extend_schema
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import principal_of
from accounts.services import agents as door
from realtime.core import acks, wire
from realtime.core.credentials import AgentSecret, bearer_of
from realtime.core.errors import MalformedFrame
from realtime.core.principal import Principal
from sessions_app import serializers
from sessions_app.services import acknowledgements, relay


class AgentAuthentication(BaseAuthentication):
    """`Authorization: Bearer` as on `/edge/ws`; `request.auth` is the agent.

    The id is in the body, the query, `X-Edge-Agent-Id`, or in the bearer itself.
    """

    nameless = ""

    def authenticate(self, request: Request) -> tuple[Any, Principal]:
        credential = AgentSecret(
            bearer=self.bearer(request),
            agent_id=self.agent_id(request) or request.headers.get("X-Edge-Agent-Id", ""),
            named=request.headers.get("X-Edge-Agent-Id", ""),
            address=request.META.get("REMOTE_ADDR", ""),
            over_http=True,
            nameless=self.nameless,
        )
        return AnonymousUser(), door.recognise(credential=credential)

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="edge"'

    def bearer(self, request: Request) -> str | None:
        return bearer_of(request.headers.get("Authorization", ""))

    def agent_id(self, request: Request) -> str:
        said = _body(request).get("edge_agent_id") or request.query_params.get("edge_agent_id", "")
        if not isinstance(said, str):
            raise MalformedFrame("edge_agent_id: it must be a text")
        return said


class MessageAuthentication(AgentAuthentication):
    """Agents that send a message with the raw secret say nowhere who they are (1.7)."""

    nameless = relay.NAMELESS


class NewcomerAuthentication(AgentAuthentication):
    """A client that registers may show its bearer in the body, and its phone for its id."""

    def bearer(self, request: Request) -> str | None:
        places = [_body(request).get(name) for name in ("auth_token", "registration_token")]
        shown = next((place for place in places if isinstance(place, str)), None)
        return super().bearer(request) or shown

    def agent_id(self, request: Request) -> str:
        phone = _body(request).get("user_phone")
        digits = "".join(c for c in phone if c in "0123456789") if isinstance(phone, str) else ""
        return super().agent_id(request) or (f"edge_{digits}" if digits else "")


class AgentScheme(OpenApiAuthenticationExtension):
    target_class: Any = AgentAuthentication
    name = "edgeAgent"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "The edge secret, a token made with it, or the agent's own secret.",
        }


class NewcomerScheme(AgentScheme):
    target_class = NewcomerAuthentication
    name = "edgeNewcomer"


class MessageScheme(AgentScheme):
    target_class = MessageAuthentication
    name = "edgeMessage"


class _AgentView(APIView):
    authentication_classes = (AgentAuthentication,)
    permission_classes = (AllowAny,)  # whoever is recognised


class RegisterView(_AgentView):
    authentication_classes = (NewcomerAuthentication,)

    @extend_schema(
        operation_id="edge_register",
        request=serializers.Registration,
        responses={200: serializers.Registered},
    )
    def post(self, request: Request) -> Response:
        """Make the agent known; what it has to call itself."""
        return Response(relay.register(principal=principal_of(request)))


class SyncView(_AgentView):
    @extend_schema(
        operation_id="edge_sync",
        request=serializers.SyncBody,
        responses={200: serializers.Synced},
    )
    def post(self, request: Request) -> Response:
        """Report, and take the commands that are due."""
        given = _body(request)
        return Response(
            relay.sync(
                principal=principal_of(request),
                status=given.get("status"),
                pending_events=given.get("pending_events"),
                last_command_id=given.get("last_command_id"),
            )
        )


class AckView(_AgentView):
    @extend_schema(
        operation_id="edge_command_ack",
        request=serializers.AckBody,
        responses={200: serializers.Acknowledged},
    )
    def post(self, request: Request) -> Response:
        """Acknowledge a command, in either shape of the socket's `command_ack`."""
        given = _body(request)
        wire.check(given)
        ack = acks.read(given)
        return Response(
            acknowledgements.acknowledge(
                principal=principal_of(request),
                command_id=ack.command_id,
                status=ack.status,
                error=ack.error,
                completed_at=ack.completed_at,
            )
        )


class MessageView(_AgentView):
    authentication_classes = (MessageAuthentication,)

    @extend_schema(
        operation_id="edge_message",
        request=serializers.MessageBody,
        responses={200: serializers.MessageTaken},
    )
    def post(self, request: Request) -> Response:
        """Pass on a message that came to the agent's person."""
        answer = relay.message(principal=principal_of(request), message=_body(request))
        return Response(answer)


def _body(request: Request) -> dict[str, Any]:
    """Raises MalformedFrame."""
    if not isinstance(request.data, dict):
        raise MalformedFrame("the body must be a JSON object")
    return request.data
