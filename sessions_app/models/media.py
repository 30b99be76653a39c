"""Uploads: what people attach to their messages. Source: PROTOCOLS.md 2.11."""

from __future__ import annotations

import secrets
from typing import Any

from django.db import models


def new_media_id() -> str:
    """128 random bits; the only name that a client ever gives or gets."""
    return secrets.token_hex(16)


class Media(models.Model):
    """One upload of one person.

    Reserved first (`ready_at` empty: it counts against the quota and nobody can fetch it), then
    written to the storage, then ready: what is broken off in between is found and taken away.
    `filename` is what the uploader called it, shown and never used as a path.
    """

    class Kind(models.TextChoices):
        IMAGE = "image"
        VIDEO = "video"
        AUDIO = "audio"
        DOCUMENT = "document"

    id = models.CharField(primary_key=True, max_length=32, default=new_media_id, editable=False)
    account = models.ForeignKey("accounts.Account", on_delete=models.CASCADE, related_name="media")
    owner = models.CharField(max_length=255, blank=True, default="")
    filename = models.CharField(max_length=255)
    mime_type = models.CharField(max_length=127)
    kind = models.CharField(max_length=16, choices=Kind.choices)
    size = models.PositiveBigIntegerField()  # bytes
    width = models.PositiveIntegerField(null=True, blank=True)  # pixels, of an image
    height = models.PositiveIntegerField(null=True, blank=True)
    stored_as = models.CharField(max_length=255)  # the storage's name
    created_at = models.DateTimeField(auto_now_add=True)
    ready_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "media"
        ordering = ["-created_at", "id"]
        indexes = [models.Index(fields=["account", "owner"], name="media_of_owner")]

    def __str__(self) -> str:
        return self.filename

    def reference(self) -> dict[str, Any]:
        """One of a message's `media_refs` (PROTOCOLS.md 2.7)."""
        return {
            "id": self.id,
            "mime_type": self.mime_type,
            "kind": self.kind,
            "path": self.id,
            "filename": self.filename,
        }
