from __future__ import annotations

from django.apps import AppConfig


class SessionsAppConfig(AppConfig):
    name = "sessions_app"
    verbose_name = "Sessions"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from accounts.services import devices
        from sessions_app.services import (
            media_files,  # noqa: F401 - hears which rows are deleted
            ownership,
        )

        # A device must not claim its way into sessions that somebody has.
        devices.in_use.append(ownership.owns_any)
