"""Uploads in the admin."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils.html import format_html

from accounts.admin.scope import AccountAdmin, acting
from sessions_app.models import Media
from sessions_app.services import media_links


@admin.register(Media)
class MediaAdmin(AccountAdmin):
    """Uploads: looked at through a link of five minutes, deleted together with their files."""

    list_display = ("filename", "kind", "shown_size", "owner", "account", "created_at", "link")
    list_filter = ("kind", "account")
    list_select_related = ("account",)
    search_fields = ("id", "filename", "owner")
    ordering = ("-created_at",)
    fields = (
        *("id", "link", "filename", "mime_type", "kind", "shown_size", "width", "height"),
        *("owner", "account", "created_at", "ready_at"),
    )
    readonly_fields = ("id", "link", "shown_size", "created_at")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return acting(request).is_admin

    @admin.display(description="size", ordering="size")
    def shown_size(self, row: Media) -> str:
        return filesizeformat(row.size)

    @admin.display(description="content")
    def link(self, row: Media) -> str:
        if row.ready_at is None:
            return "unfinished"
        url = media_links.sign(row.pk).url
        label = f"Open {row.filename}"
        return format_html('<a href="{}" aria-label="{}">Open</a>', url, label)
