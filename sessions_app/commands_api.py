"""Commands for edge agents over HTTP: queue, history, agents. Source: CONTRACT (HTTP)."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.generics import GenericAPIView, ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import principal_of
from accounts.models import EdgeAgent
from accounts.pagination import Pages
from accounts.permissions import Operator
from realtime.core.errors import InvalidParams
from sessions_app import serializers
from sessions_app.models import ScheduledCommand, Status
from sessions_app.services import agents, commands

FIELDS = (
    "agent_id",
    "command_type",
    "payload",
    "priority",
    "deliver_at",
    "expires_at",
    "idempotency_key",
    "delivery",
)
REQUIRED = {"agent_id": "", "command_type": "", "payload": None}
_ID = OpenApiParameter("command_id", str, OpenApiParameter.PATH)
_ERRORS = {
    400: serializers.ErrorBody,
    403: serializers.ErrorBody,
    409: serializers.ErrorBody,
    413: serializers.ErrorBody,
}


class CommandPages(Pages):
    """Newest first."""

    ordering = ("-created_at", "-id")  # type: ignore[assignment]  # its parent takes both kinds


class AgentPages(Pages):
    ordering = ("agent_id", "id")  # type: ignore[assignment]  # its parent takes both kinds


class CommandsView(GenericAPIView[ScheduledCommand]):
    permission_classes = (Operator,)
    serializer_class = serializers.Command
    pagination_class = CommandPages
    queryset = ScheduledCommand.objects.none()  # for the schema

    @extend_schema(
        operation_id="edge_commands_create",
        request=serializers.NewCommand,
        responses={
            201: serializers.CommandWithPayload,
            200: serializers.CommandWithPayload,
            **_ERRORS,
        },
    )
    def post(self, request: Request) -> Response:
        """Queue a command, also for an agent never seen; 200 when the key is known already."""
        command, created = commands.schedule(principal=principal_of(request), **_asked(request))
        answer = serializers.CommandWithPayload(command).data
        return Response(answer, status.HTTP_201_CREATED if created else status.HTTP_200_OK)

    @extend_schema(
        operation_id="edge_commands_list",
        parameters=[
            OpenApiParameter("agent_id", str),
            OpenApiParameter("status", str, enum=Status.values),
        ],
        responses={200: serializers.Command(many=True)},
    )
    def get(self, request: Request) -> Response:
        """The account's commands, newest first, without their payloads."""
        rows = _filtered(commands.visible(principal_of(request)), request)
        page = self.paginate_queryset(rows.defer("payload"))
        return self.get_paginated_response(serializers.Command(page, many=True).data)


class CommandView(APIView):
    permission_classes = (Operator,)

    @extend_schema(
        operation_id="edge_commands_read",
        parameters=[_ID],
        responses={200: serializers.CommandWithEvents},
    )
    def get(self, request: Request, command_id: str) -> Response:
        """One command and what happened to it, oldest first."""
        command = commands.find(principal=principal_of(request), command_id=command_id)
        return Response(serializers.CommandWithEvents(command).data)


class CancelView(APIView):
    permission_classes = (Operator,)

    @extend_schema(
        operation_id="edge_commands_cancel",
        parameters=[_ID],
        request=None,
        responses={200: serializers.CommandWithPayload, 409: serializers.ErrorBody},
    )
    def post(self, request: Request, command_id: str) -> Response:
        """Give a command up; 409 when it has ended already."""
        command = commands.cancel(principal=principal_of(request), command_id=command_id)
        return Response(serializers.CommandWithPayload(command).data)


class RetryView(APIView):
    permission_classes = (Operator,)

    @extend_schema(
        operation_id="edge_commands_retry",
        parameters=[_ID],
        request=None,
        responses={200: serializers.CommandWithPayload, 409: serializers.ErrorBody},
    )
    def post(self, request: Request, command_id: str) -> Response:
        """Queue a command again that failed, expired or died; else 409."""
        command = commands.retry(principal=principal_of(request), command_id=command_id)
        return Response(serializers.CommandWithPayload(command).data)


class AgentsView(ListAPIView[EdgeAgent]):
    permission_classes = (Operator,)
    serializer_class = serializers.Agent
    pagination_class = AgentPages
    queryset = EdgeAgent.objects.none()  # for the schema

    def get_queryset(self) -> QuerySet[EdgeAgent]:
        rows: QuerySet[Any] = agents.visible(principal_of(self.request))
        online = self.request.query_params.get("online", "")
        if online not in {"", "true", "false"}:
            raise _refused("online", "it takes true or false")
        return rows.filter(online=online == "true") if online else rows

    @extend_schema(operation_id="edge_agents_list", parameters=[OpenApiParameter("online", bool)])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The account's agents, connected or not."""
        return super().get(request, *args, **kwargs)


def _asked(request: Request) -> dict[str, Any]:
    """The fields as they were sent: the service says what is wrong with one. null is absent.

    Unknown names are refused: `expires` instead of `expires_at` would mean never.
    """
    if not isinstance(request.data, dict):
        raise InvalidParams("the body must be a JSON object")
    for name in request.data:
        if name not in FIELDS:
            raise _refused(ascii(name)[1:65], f"unknown field; it takes {', '.join(FIELDS)}")
    given = {name: request.data[name] for name in FIELDS if request.data.get(name) is not None}
    return {**REQUIRED, **given}


def _filtered(rows: QuerySet[ScheduledCommand], request: Request) -> QuerySet[ScheduledCommand]:
    asked = request.query_params
    wanted = asked.get("status", "")
    if wanted and wanted not in Status.values:
        raise _refused("status", f"it takes {', '.join(Status.values)}")
    agent_id = asked.get("agent_id", "")
    if "\x00" in agent_id:
        raise _refused("agent_id", "it must not contain control characters")
    if wanted:
        rows = rows.filter(status=wanted)
    return rows.filter(agent__agent_id=agent_id) if agent_id else rows


def _refused(name: str, words: str) -> InvalidParams:
    return InvalidParams(f"{name}: {words}", details={"field": name})
