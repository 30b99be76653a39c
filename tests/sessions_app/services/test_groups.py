from __future__ import annotations

from dataclasses import replace

import pytest

from realtime.core.errors import MalformedFrame, RoleTooLow
from realtime.core.principal import Principal
from realtime.models import Announcement
from sessions_app.services import groups


def test_the_service_itself_hears_operators_only(alice: Principal, admin: Principal) -> None:
    """Whoever calls it: a view, the admin or a command."""
    for role in ("", "viewer"):
        viewer = replace(alice, role=role)
        with pytest.raises(RoleTooLow):
            groups.tell_group(principal=viewer, group_id="g", said={"msg": "hi"})
        with pytest.raises(RoleTooLow):
            groups.tell_client(principal=viewer, client_id="c", said={"msg": "hi"})
    assert not Announcement.objects.exists()
    for principal in (alice, admin):
        groups.tell_group(principal=principal, group_id="g", said={"msg": "hi"})
    assert Announcement.objects.count() == 2


@pytest.mark.parametrize("scope", ["operator.read", "operator.approvals", "operator.pairing"])
def test_a_key_without_the_scope_to_write_says_nothing(alice: Principal, scope: str) -> None:
    reader = replace(alice, scopes=frozenset({scope}))
    with pytest.raises(RoleTooLow, match=r"operator\.write"):
        groups.tell_group(principal=reader, group_id="g", said={"msg": "hi"})
    assert not Announcement.objects.exists()
    writer = replace(alice, scopes=frozenset({scope, "operator.write"}))
    groups.tell_group(principal=writer, group_id="g", said={"msg": "hi"})


@pytest.mark.parametrize("said", [{"msg": "\ud800"}, {"payload": {"\ud800": 1}}, {"\ud800": 1}])
def test_what_no_frame_could_carry_is_refused(alice: Principal, said: dict[str, object]) -> None:
    with pytest.raises(MalformedFrame, match="must be JSON"):
        groups.tell_group(principal=alice, group_id="g", said=said)
    assert not Announcement.objects.exists()


def test_a_message_to_a_group_is_to_nobody_in_particular(alice: Principal) -> None:
    said = groups.tell_group(principal=alice, group_id="g", said={"msg": "hi", "to_id": "c"})
    assert said["to_id"] is None
