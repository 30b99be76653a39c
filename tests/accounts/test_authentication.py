"""Who asks, of a REST request and of an admin's."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.test import RequestFactory
from rest_framework.request import Request

from accounts.authentication import BearerAuthentication, DeviceAuthentication, principal_of
from accounts.models import User
from realtime.core.credentials import PendingPairing
from realtime.core.errors import BadCredentials, MissingCredentials
from tests.accounts.conftest import GATEWAY_TOKEN


def asking(**headers: str) -> Request:
    return Request(RequestFactory().get("/", headers=headers))


def test_the_holder_of_the_gateway_token_says_for_whom_it_acts(db: None) -> None:
    request = asking(**{"Authorization": f"bearer {GATEWAY_TOKEN}", "X-GoClaw-User-Id": "carol"})
    _, principal = BearerAuthentication().authenticate(request) or (None, None)
    assert principal and (principal.id, principal.role) == ("carol", "admin")


def test_a_user_id_is_read_as_utf_8_and_else_as_it_came(db: None) -> None:
    for sent, read in (("zoë".encode(), "zoë"), ("zoë".encode("latin-1"), "zoë")):
        headers = {
            "Authorization": f"Bearer {GATEWAY_TOKEN}",
            "X-GoClaw-User-Id": sent.decode("latin-1"),
        }
        _, principal = BearerAuthentication().authenticate(asking(**headers)) or (None, None)
        assert principal and principal.id == read


def test_no_header_is_left_to_the_next_way_in(db: None) -> None:
    assert BearerAuthentication().authenticate(asking()) is None


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Token x", "x", "Bearer\u00a0x"])
def test_another_scheme_is_a_bad_credential(db: None, header: str) -> None:
    with pytest.raises(BadCredentials):
        BearerAuthentication().authenticate(asking(Authorization=header))


def test_a_paired_browser_shows_its_sender_id(paired: PendingPairing) -> None:
    request = asking(**{"X-GoClaw-Sender-Id": paired.sender_id, "X-GoClaw-User-Id": "root"})
    _, principal = DeviceAuthentication().authenticate(request) or (None, None)
    assert principal and (principal.id, principal.role, principal.via) == (
        "alice",
        "operator",
        "device",
    )


@pytest.mark.parametrize("sender_id", ["unknown", "x" * 200, "../x"])
def test_an_unpaired_sender_id_is_a_bad_credential(db: None, sender_id: str) -> None:
    with pytest.raises(BadCredentials):
        DeviceAuthentication().authenticate(asking(**{"X-GoClaw-Sender-Id": sender_id}))
    assert DeviceAuthentication().authenticate(asking()) is None


def test_the_principal_of_an_admin_request_is_its_user(boss: User) -> None:
    request: Any = RequestFactory().get("/")
    request.user = boss
    assert principal_of(request).id == "boss"
    request.user = AnonymousUser()
    with pytest.raises(MissingCredentials):
        principal_of(request)
