"""The OpenAPI document of these paths has no warning."""

from __future__ import annotations

from io import StringIO

from django.core.management import call_command


def test_the_schema_is_valid_and_names_every_path(db: None) -> None:
    out = StringIO()
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=out)
    text = out.getvalue()
    for path in ("/api/auth/token/", "/api/auth/keys/{key_id}/", "/api/pairings/{code}/approve/"):
        assert f"  {path}:" in text
