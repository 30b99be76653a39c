"""The Django admin of sessions: records to look at, connections to act on, uploads to delete."""

from sessions_app.admin import connections, media, records

__all__ = ["connections", "media", "records"]
