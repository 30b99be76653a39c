from __future__ import annotations

from dataclasses import replace

import pytest

from realtime.core.errors import RoleTooLow
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
