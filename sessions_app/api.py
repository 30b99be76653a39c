"""Who is here, over HTTP: members for operators; for admins connections, a word to one, its end."""

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
from accounts.permissions import Admin, Operator
from accounts.serializers import Empty
from sessions_app.models import Presence
from sessions_app.serializers import ConnectionSerializer, MemberSerializer, WordsSerializer
from sessions_app.services import last_seen, members, presence


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

    def paginate_queryset(self, queryset: Any) -> Any:
        page = super().paginate_queryset(queryset.select_related("account"))
        last_seen.refresh(page or [])
        return page

    @extend_schema(operation_id="connections_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The account's live connections, newest first."""
        return super().get(request, *args, **kwargs)


class MemberPages(Pages):
    """Whoever came first stands first: who comes meanwhile is on the last page. `limit` asks for 1
    to 1000 members; fewer come where some are idle.
    """

    ordering = ("since", "id")  # type: ignore[assignment]  # as above
    page_size = max_page_size = 1000

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"members": data, "next": self.get_next_link()})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        listed = super().get_paginated_response_schema(schema)
        properties = listed["properties"]
        properties = {"members": properties["results"], "next": properties["next"]}
        return {**listed, "required": ["members", "next"], "properties": properties}


class MemberList(ListAPIView[Presence]):
    permission_classes = (Operator,)
    serializer_class = MemberSerializer
    pagination_class = MemberPages
    queryset = Presence.objects.none()  # for the schema

    def get_queryset(self) -> QuerySet[Presence]:
        group_id = self.request.query_params.get("group", "")
        return members.rows(principal=principal_of(self.request), group_id=group_id)

    def paginate_queryset(self, queryset: Any) -> Any:
        page = super().paginate_queryset(queryset)
        return members.told(principal=principal_of(self.request), first=page or [])

    @extend_schema(
        operation_id="presence_list",
        parameters=[OpenApiParameter("group", str, description="of one group of 003 only")],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Who is here in the account, of all protocols; several tabs of one client id are one."""
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
