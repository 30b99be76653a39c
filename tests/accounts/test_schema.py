"""The OpenAPI document of these paths has no warning."""

from __future__ import annotations

from io import StringIO

from django.core.management import call_command


def test_the_schema_is_valid_and_names_every_path(db: None) -> None:
    out = StringIO()
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=out)
    text = out.getvalue()
    for path in (
        "/api/auth/token/",
        "/api/auth/keys/{key_id}/",
        "/api/pairings/{code}/approve/",
        "/v1/sessions/",
        *[f"/v1/sessions/{{session_id}}/{part}" for part in ("", "archive/", "events/", "pass/")],
        *[f"/v1/sessions/{{session_id}}/{part}/" for part in ("share-status", "watchers")],
        "/v1/environment_providers/private/organizations/{organization}/environments/",
    ):
        assert f"  {path}:" in text
