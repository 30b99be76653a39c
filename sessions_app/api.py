"""Connections over HTTP: who is here, a word to one, ending one. For the account's admins."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import principal_of
from accounts.pagination import Pages
from accounts.permissions import Admin
from accounts.serializers import Empty
from sessions_app.models import Presence
from sessions_app.serializers import ConnectionSerializer, WordsSerializer
from sessions_app.services import presence


class ConnectionPages(Pages):
    """Newest connection first."""

    ordering = ("-since", "-id")  # type: ignore[assignment]  # its parent takes both kinds


class ConnectionList(ListAPIView[Presence]):
    permission_classes = (Admin,)
    serializer_class = ConnectionSerializer
    pagination_class = ConnectionPages
    queryset = Presence.objects.none()  # for the schema

    def get_queryset(self) -> QuerySet[Presence]:
        return presence.live(principal=principal_of(self.request))

    @extend_schema(operation_id="connections_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The account's live connections, newest first."""
        return super().get(request, *args, **kwargs)


class ConnectionDisconnect(APIView):
    permission_classes = (Admin,)

    @extend_schema(
        operation_id="connections_disconnect",
        parameters=[OpenApiParameter("connection", str, OpenApiParameter.PATH)],
        request=None,
        responses={202: Empty},
    )
    def post(self, request: Request, connection: str) -> Response:
        """End a connection; the process that holds it closes it."""
        presence.disconnect(principal=principal_of(request), connection=connection)
        return Response({}, status=status.HTTP_202_ACCEPTED)


class ConnectionMessage(APIView):
    permission_classes = (Admin,)

    @extend_schema(
        operation_id="connections_message",
        parameters=[OpenApiParameter("connection", str, OpenApiParameter.PATH)],
        request=WordsSerializer,
        responses={202: Empty},
    )
    def post(self, request: Request, connection: str) -> Response:
        """Say something to the peer; protocols that have no place for words drop it."""
        words = WordsSerializer(data=request.data)
        words.is_valid(raise_exception=True)
        presence.message(
            principal=principal_of(request), connection=connection, **words.validated_data
        )
        return Response({}, status=status.HTTP_202_ACCEPTED)
