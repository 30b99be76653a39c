"""The Django admin of accounts: thin, every change goes through a service."""

from accounts.admin import keys, pairing, people

__all__ = ["keys", "pairing", "people"]
