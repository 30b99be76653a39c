"""The people of the live tests: the owner, the stranger, the admin, and another tenant's owner.

They stand in the template of every test database, each with an API key known here.
"""

from __future__ import annotations

import hashlib

PEOPLE = {
    "alice": ("operator", "default"),
    "bob": ("operator", "default"),
    "root": ("admin", "default"),
    "carol": ("admin", "other"),
}


def key_of(name: str) -> str:
    """The API key of one of PEOPLE."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    return f"gwk_{digest[:8]}_{digest[8:51]}"


_ROWS = [(name, role, account, key_of(name)) for name, (role, account) in PEOPLE.items()]

# For `manage.py shell -c`.
INTRODUCE = f"""
import hashlib
from accounts.models import ApiKey
from accounts.services import people
for name, role, account, key in {_ROWS!r}:
    member = people.create(username=name, password=None, role=role, account=account)
    digest = hashlib.sha256(key.encode()).hexdigest()
    ApiKey.objects.create(
        account=member.account, user=member.user, name="live", prefix=key[4:12], digest=digest
    )
"""
