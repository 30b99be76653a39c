"""Probes, errors and documents of the HTTP side."""

from __future__ import annotations

import json

import pytest
from django.core.management import call_command
from django.test import Client

pytestmark = pytest.mark.django_db


@pytest.fixture
def quiet():
    return Client(raise_request_exception=False)


@pytest.mark.parametrize("path", ["/healthz", "/healthz/", "/health", "/metrics", "/metrics/"])
def test_the_probes_answer_with_and_without_the_slash(client, path):
    assert client.get(path).status_code == 200


def test_health_is_what_the_clients_of_001_ask(client):
    assert client.get("/health").json() == {"status": "ok", "protocol": 3}


def test_ready_says_of_each_part_whether_it_is(client):
    answer = client.get("/readyz")
    assert answer.status_code == 503, "no node serves in this process"
    checks = answer.json()["checks"]
    assert (checks["database"], checks["migrations"]) == ("ok", "ok")
    assert checks["bus"] == "not started"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("get", "/api/nothing", 404, "NOT_FOUND"),
        ("get", "/api/pairings/", 401, "UNAUTHORIZED"),
        ("get", "/api/connections", 401, "UNAUTHORIZED"),
        ("put", "/api/auth/token/", 405, "METHOD_NOT_ALLOWED"),
        ("get", "/v1/nothing/at/all", 404, "NOT_FOUND"),
    ],
)
def test_errors_of_the_api_are_json_of_one_shape(quiet, method, path, status, code):
    answer = getattr(quiet, method)(path)
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize(
    "path", ["/api", "/api/", "/api/nothing", "/api/pairings/%00/approve/", "/api/a%0Ab", "/v1"]
)
def test_a_path_of_the_api_that_is_none_is_json(settings, debug, path):
    settings.DEBUG = debug
    client = Client(raise_request_exception=False, enforce_csrf_checks=True)
    for answer in (client.get(path), client.post(path)):
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "NOT_FOUND"


@pytest.mark.parametrize("path", ["/api/schema/", "/api/docs/"])
@pytest.mark.parametrize(
    ("more", "status"), [({"query_params": {"format": "zzz"}}, 404), ({"method": "PUT"}, 405)]
)
def test_the_documents_errors_are_json_too(quiet, path, more, status):
    answer = quiet.generic(**{"method": "GET", "path": path} | more)
    assert answer.status_code == status
    assert answer["Content-Type"] == "application/json"
    assert answer.json()["error"]["message"]


def test_the_documents_still_come_in_their_own_formats(client):
    assert client.get("/api/schema/").status_code == 200
    assert client.get("/api/schema/", {"format": "json"}).json()["openapi"]
    assert "text/html" in client.get("/api/docs/")["Content-Type"]


def test_json_nested_too_deeply_is_a_complaint_before_log_in(quiet):
    answer = quiet.post("/api/auth/token/", "[" * 100_000, content_type="application/json")
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "INVALID_REQUEST"


@pytest.mark.parametrize(
    "body", ["", "nonsense", "[]", "null", '{"username":', '{"username":{},"password":[]}', "\x00"]
)
def test_a_bad_body_is_a_complaint_and_not_a_fault(quiet, body):
    answer = quiet.post("/api/auth/token/", body, content_type="application/json")
    assert answer.status_code in {400, 401}
    assert "message" in answer.json()["error"]


def test_a_body_of_another_type_is_refused(quiet):
    answer = quiet.post("/api/auth/token/", "<x/>", content_type="application/xml")
    assert answer.status_code == 415
    assert answer.json()["error"]["code"] == "UNSUPPORTED_MEDIA_TYPE"


def test_a_fault_of_ours_tells_nothing(quiet, monkeypatch):
    def broken(*args, **kwargs):
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr("accounts.services.tokens.issue", broken)
    from accounts.models import User

    User.objects.create_user("alice", password="a-long-pass-phrase")
    body = json.dumps({"username": "alice", "password": "a-long-pass-phrase"})
    answer = quiet.post("/api/auth/token/", body, content_type="application/json")
    assert answer.status_code == 500
    assert answer.json() == {"error": {"code": "INTERNAL", "message": "internal error"}}


def test_the_openapi_document_is_made_without_a_warning(capsys):
    call_command("spectacular", "--fail-on-warn", "--validate")
    document = capsys.readouterr().out
    for path in ("/api/auth/token/", "/api/auth/keys/", "/api/pairings/", "/api/connections/"):
        assert path in document or path.rstrip("/") in document


def test_the_pages_load_no_script_from_elsewhere(client):
    answer = client.get("/")
    assert answer.status_code == 200
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    page = answer.content.decode()
    assert "/static/client/gateway.js" in page or "console.js" in page
    assert "https://" not in page
