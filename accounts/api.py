"""HTTP for the same services that the wire calls. Source: CONTRACT (HTTP)."""

from __future__ import annotations

from typing import Any

from axes.handlers.proxy import AxesProxyHandler
from axes.helpers import get_client_ip_address
from django.contrib.auth import authenticate
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.generics import ListAPIView
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import serializers
from accounts.authentication import principal_of
from accounts.models import ApiKey, Pairing, User
from accounts.pagination import Pages
from accounts.permissions import Admin, Operator
from accounts.services import keys, pairing, tokens
from realtime.core.errors import BadCredentials, InvalidParams, NotFound, TooManyFailures

_CODE = OpenApiParameter("code", str, OpenApiParameter.PATH)
_SENDER_ID = OpenApiParameter("sender_id", str, OpenApiParameter.PATH)
_KEY_ID = OpenApiParameter("key_id", int, OpenApiParameter.PATH)


class _Open(APIView):
    """What is called without credentials: they are in the body."""

    authentication_classes = ()
    permission_classes = (AllowAny,)


class TokenView(_Open):
    @extend_schema(
        operation_id="auth_token",
        request=serializers.LogIn,
        responses={200: serializers.TokenPair},
        auth=[],
    )
    def post(self, request: Request) -> Response:
        """Log in."""
        given = _checked(serializers.LogIn, request)
        django_request = request._request
        user = authenticate(request=django_request, **given)
        if getattr(django_request, "axes_locked_out", False):
            # Its middleware would put its own page in the place of our answer.
            del django_request.axes_locked_out  # type: ignore[attr-defined]
            raise TooManyFailures
        if not isinstance(user, User):
            raise BadCredentials("no active user with this name and password")
        AxesProxyHandler.reset_attempts(
            ip_address=get_client_ip_address(django_request), username=user.username
        )
        return Response(tokens.issue(user=user))


class RefreshView(_Open):
    @extend_schema(
        operation_id="auth_token_refresh",
        request=serializers.Refresh,
        responses={200: serializers.TokenPair},
        auth=[],
    )
    def post(self, request: Request) -> Response:
        """The next pair; the old refresh token is used up."""
        return Response(tokens.refresh(**_checked(serializers.Refresh, request)))


class RevokeView(_Open):
    @extend_schema(
        operation_id="auth_token_revoke",
        request=serializers.Refresh,
        responses={200: serializers.Empty},
        auth=[],
    )
    def post(self, request: Request) -> Response:
        """Log out: the tokens end and the sockets close."""
        tokens.revoke(**_checked(serializers.Refresh, request))
        return Response({})


class KeysView(ListAPIView[ApiKey]):
    permission_classes = (Operator,)
    pagination_class = Pages
    serializer_class = serializers.Key
    queryset = ApiKey.objects.none()  # for the schema

    def get_queryset(self) -> Any:
        return keys.list_(principal=principal_of(self.request))

    @extend_schema(operation_id="auth_keys_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The caller's API keys."""
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="auth_keys_create",
        request=serializers.NewKey,
        responses={201: serializers.ShownKey},
    )
    def post(self, request: Request) -> Response:
        """Make a key; its text is in this answer only."""
        given = _checked(serializers.NewKey, request)
        made = keys.create(
            principal=principal_of(request),
            name=given["name"],
            scopes_=given["scopes"],
            owner_id=given["owner_id"],
            expires_at=given["expires_at"],
        )
        shown = {**serializers.Key(made.row).data, "key": made.text}
        return Response(shown, status=status.HTTP_201_CREATED)


class KeyView(APIView):
    permission_classes = (Operator,)

    @extend_schema(operation_id="auth_keys_revoke", parameters=[_KEY_ID], responses={204: None})
    def delete(self, request: Request, key_id: str) -> Response:
        """Revoke a key and close its sockets."""
        if len(key_id) > 18:
            raise NotFound(f"API key not found: {key_id[:18]}…")
        keys.revoke(principal=principal_of(request), key_id=int(key_id))
        return Response(status=status.HTTP_204_NO_CONTENT)


class PairingsView(ListAPIView[Pairing]):
    permission_classes = (Admin,)
    pagination_class = Pages
    serializer_class = serializers.PairingRow
    queryset = Pairing.objects.none()  # for the schema

    def get_queryset(self) -> Any:
        wanted = self.request.query_params.get("status", "")
        if wanted and wanted not in Pairing.Status.values:
            raise InvalidParams(f"status takes one of {', '.join(Pairing.Status.values)}")
        return pairing.rows(principal=principal_of(self.request), status=wanted)

    @extend_schema(
        operation_id="pairings_list",
        parameters=[OpenApiParameter("status", str, enum=Pairing.Status.values)],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The account's pairings, newest first."""
        return super().get(request, *args, **kwargs)


class ApproveView(APIView):
    permission_classes = (Admin,)

    @extend_schema(
        operation_id="pairings_approve",
        parameters=[_CODE],
        request=serializers.ApproveBody,
        responses={200: serializers.Paired},
    )
    def post(self, request: Request, code: str) -> Response:
        given = _checked(serializers.ApproveBody, request)
        return Response(pairing.approve(principal=principal_of(request), code=code, **given))


class DenyView(APIView):
    permission_classes = (Admin,)

    @extend_schema(
        operation_id="pairings_deny",
        parameters=[_CODE],
        request=None,
        responses={200: serializers.Denied},
    )
    def post(self, request: Request, code: str) -> Response:
        return Response(pairing.deny(principal=principal_of(request), code=code))


class RevokePairingView(APIView):
    permission_classes = (Admin,)

    @extend_schema(
        operation_id="pairings_revoke",
        parameters=[_SENDER_ID],
        request=serializers.RevokeBody,
        responses={200: serializers.Revoked},
    )
    def post(self, request: Request, sender_id: str) -> Response:
        given = _checked(serializers.RevokeBody, request)
        principal = principal_of(request)
        return Response(pairing.revoke(principal=principal, sender_id=sender_id, **given))


def _checked(kind: Any, request: Request) -> dict[str, Any]:
    """The body in the shape of `kind`; a missing body is an empty object."""
    shape = kind(data=request.data)
    shape.is_valid(raise_exception=True)
    return dict(shape.validated_data)
