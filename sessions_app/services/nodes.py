"""The lease of one serving process. The database's clock decides who is alive."""

from __future__ import annotations

import datetime as dt

from django.db.models import QuerySet
from django.db.models.functions import Now

from realtime.core.errors import Unavailable
from realtime.models import Node
from sessions_app.models import Presence

# A lapsed lease is of no use to anyone; its row is kept a while for whoever looks into a crash.
KEEP = dt.timedelta(hours=1)


def renew(*, node: str, host: str, pid: int, lease_s: float) -> bool:
    """Extend this process's lease by `lease_s` seconds from now, beginning it if need be.

    True: it had not lapsed. False: it is new or had lapsed, so that others may have swept
    the presence rows and ended the runs of this node.
    """
    until = Now() + dt.timedelta(seconds=lease_s)
    if Node.objects.filter(pk=node, lease_until__gt=Now()).update(lease_until=until):
        return True
    Node.objects.bulk_create(
        [Node(id=node, host=host, pid=pid, started_at=Now(), lease_until=until)],
        update_conflicts=True,
        unique_fields=["id"],
        update_fields=["lease_until"],
    )
    return False


def leave(*, node: str) -> None:
    """End the lease of a process that stops in good order, with what is left of its presence."""
    Presence.objects.filter(node=node).delete()
    Node.objects.filter(pk=node).delete()


def live() -> QuerySet[Node, str]:
    """Ids of the processes whose lease lies ahead."""
    return Node.objects.filter(lease_until__gt=Now()).values_list("id", flat=True)


def any_live() -> str:
    """A process that runs may be given to. Raises Unavailable."""
    node = live().order_by("-lease_until").first()
    if node is None:
        raise Unavailable("no process of this server is running")
    return node


def is_live(node: str) -> bool:
    return live().filter(id=node).exists()


def sweep() -> int:
    """Forget processes whose lease lapsed an hour ago; how many."""
    return Node.objects.filter(lease_until__lt=Now() - KEEP).delete()[0]
