from __future__ import annotations

import re

import pytest

from realtime.core import addresses
from realtime.core.addresses import Address


@pytest.mark.parametrize("key", ["a", "team ü", "iMessage;-;+1555", "x" * 4000, "", "a\nb", "💙"])
def test_group_names_are_what_channels_allows(key):
    assert re.fullmatch(r"[A-Za-z0-9\-_.]{1,99}", addresses.group("r", key).group())


def test_kind_realm_and_key_all_tell_addresses_apart():
    names = {
        Address(kind, realm, key).group()
        for kind in ("client", "group")
        for realm in ("a", "b", "a:b")
        for key in ("", "b", "c", ":b")
    }
    assert len(names) == 24


def test_an_address_survives_the_wire():
    address = addresses.topic("nexus:acc", "a:b")
    assert Address.unpack(address.pack()) == address


def test_tenants_and_administrators_have_addresses_of_their_own():
    assert addresses.user("one", "alice") != addresses.user("two", "alice")
    assert addresses.admins("one") != addresses.admins("two")
    assert addresses.user("one", "admins") != addresses.admins("one")
