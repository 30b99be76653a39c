"""Messages of 003 by REST. Source: CONTRACT (HTTP), PROTOCOLS.md 4.3."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import principal_of
from accounts.permissions import Operator
from realtime.core.errors import InvalidParams
from sessions_app import serializers
from sessions_app.services import groups

_ERRORS = {
    400: serializers.ErrorBody,
    403: serializers.ErrorBody,
    404: serializers.ErrorBody,
    413: serializers.ErrorBody,
}


class GroupMessages(APIView):
    permission_classes = (Operator,)

    @extend_schema(
        operation_id="group_messages_create",
        parameters=[OpenApiParameter("group_id", str, OpenApiParameter.PATH)],
        request=serializers.NewGroupMessage,
        responses={202: serializers.GroupMessage, **_ERRORS},
    )
    def post(self, request: Request, group_id: str) -> Response:
        """Say something to all clients that are in a group now; the message as they get it."""
        said = groups.tell_group(
            principal=principal_of(request), group_id=group_id, said=_said(request)
        )
        return Response(said, status=status.HTTP_202_ACCEPTED)


class ClientMessages(APIView):
    permission_classes = (Operator,)

    @extend_schema(
        operation_id="client_messages_create",
        parameters=[OpenApiParameter("client_id", str, OpenApiParameter.PATH)],
        request=serializers.NewGroupMessage,
        responses={202: serializers.GroupMessage, **_ERRORS},
    )
    def post(self, request: Request, client_id: str) -> Response:
        """Say something to one client id, in whatever group; nobody hears it if it is not here."""
        said = groups.tell_client(
            principal=principal_of(request), client_id=client_id, said=_said(request)
        )
        return Response(said, status=status.HTTP_202_ACCEPTED)


def _said(request: Request) -> dict[str, Any]:
    if not isinstance(request.data, dict):
        raise InvalidParams("the body must be a JSON object")
    return request.data
