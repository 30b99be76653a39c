"""Uploads over HTTP: in, out, and a link to hand on. Source: PROTOCOLS.md 2.11."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import (
    BearerAuthentication,
    DeviceAuthentication,
    StaffSessionAuthentication,
    principal_of,
)
from realtime.core.errors import RangeRefused, RoleTooLow, UnsupportedMedia
from realtime.core.principal import Principal
from sessions_app import media_download, media_form
from sessions_app.serializers import SignedLink, Uploaded, WhatToSign
from sessions_app.services import media

_ID = OpenApiParameter("media_id", str, OpenApiParameter.PATH)
_FT = OpenApiParameter("ft", str, description="A signature from `POST /v1/files/sign`.")
_FORM = {
    "multipart/form-data": {
        "type": "object",
        "properties": {"file": {"type": "string", "format": "binary"}},
        "required": ["file"],
    }
}


class _AnyAccept(BaseContentNegotiation):
    """An `<img>` accepts images only; its errors are JSON nevertheless."""

    def select_parser(self, request: Any, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(self, request: Any, renderers: Any, format_suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type


class UploadView(APIView):
    # No cookie opens this door, so nobody can be made to upload by another site.
    authentication_classes = (BearerAuthentication, DeviceAuthentication)
    permission_classes = (AllowAny,)  # judged by the service
    content_negotiation_class = _AnyAccept

    @extend_schema(operation_id="media_upload", request=_FORM, responses={200: Uploaded})
    def post(self, request: Request) -> Response:
        """Upload one file; `path` is what `chat.send` takes as media."""
        principal = _in_named_account(request)
        media.may_upload(principal)
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise UnsupportedMedia("the body takes no Content-Encoding: send the file as it is")
        file, filename = media_form.read(request._request)
        with file:
            row = media.store(principal=principal, filename=filename, file=file)
        return Response(Uploaded(row).data)


@extend_schema(exclude=True)
class SameUploadView(UploadView):
    """At the path that every client uses; the document names the other one."""


class DownloadView(APIView):
    authentication_classes = (
        BearerAuthentication,
        DeviceAuthentication,
        StaffSessionAuthentication,
    )
    permission_classes = (AllowAny,)  # judged by the service
    content_negotiation_class = _AnyAccept

    @extend_schema(
        operation_id="media_download",
        parameters=[_ID, _FT],
        responses={(200, "application/octet-stream"): OpenApiTypes.BINARY},
    )
    def get(self, request: Request, media_id: str) -> HttpResponseBase:
        """The content of an upload, for its owner, administrators, and holders of a link."""
        ft = request.query_params.get("ft")
        if ft is None:
            row = media.find(principal=_in_named_account(request), media_id=media_id)
        else:
            row = media.linked(media_id=media_id, ft=ft)
        return media_download.respond(request._request, row)

    def handle_exception(self, exc: Exception) -> Response:
        answer = super().handle_exception(exc)
        if isinstance(exc, RangeRefused) and exc.details:
            answer["Content-Range"] = f"bytes */{exc.details['size']}"
        return answer


@extend_schema(exclude=True)
class SameDownloadView(DownloadView):
    """At the path of the signed links."""


class SignView(APIView):
    authentication_classes = DownloadView.authentication_classes
    permission_classes = (AllowAny,)  # judged by the service

    @extend_schema(operation_id="files_sign", request=WhatToSign, responses={200: SignedLink})
    def post(self, request: Request) -> Response:
        """A link that opens an upload for five minutes."""
        principal = _in_named_account(request)
        given = WhatToSign(data=request.data)
        given.is_valid(raise_exception=True)
        path = given.validated_data["path"]
        return Response(SignedLink(media.link(principal=principal, media_id=path)).data)


def _in_named_account(request: Request) -> Principal:
    """Who asks. A tenant that is named beside the credential must be the credential's own.

    Raises MissingCredentials, RoleTooLow.
    """
    principal = principal_of(request)
    named = request.headers.get("X-GoClaw-Tenant-Id", "")
    if named and named not in (principal.account, principal.account_id):
        raise RoleTooLow("permission denied: X-GoClaw-Tenant-Id names another account")
    return principal
