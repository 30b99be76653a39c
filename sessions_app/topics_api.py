"""Topics over HTTP: the server's own word to their subscribers. Source: CONTRACT (HTTP)."""

from __future__ import annotations

from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import status
from rest_framework.fields import JSONField
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import principal_of
from accounts.permissions import Operator
from realtime.core.errors import InvalidParams
from sessions_app import serializers
from sessions_app.services import topics


class PublishView(APIView):
    permission_classes = (Operator,)

    @extend_schema(
        operation_id="topics_publish",
        parameters=[OpenApiParameter("channel", str, OpenApiParameter.PATH)],
        request=inline_serializer("NewBroadcast", {"data": JSONField()}),
        responses={
            202: serializers.Published,
            **dict.fromkeys((400, 403, 413), serializers.ErrorBody),
        },
    )
    def post(self, request: Request, channel: str) -> Response:
        """Tell the topic's subscribers of the caller's account, each once."""
        if not isinstance(request.data, dict) or "data" not in request.data:
            raise InvalidParams("data is required", details={"field": "data"})
        told = topics.publish(
            principal=principal_of(request), channel=channel, data=request.data["data"]
        )
        return Response(told, status.HTTP_202_ACCEPTED)
