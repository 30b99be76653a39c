"""The pages as HTML: what the server puts into them, and the errors that people see."""

from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied
from django.test import Client, RequestFactory
from django.urls import path

from config import drf, urls


def denied(request):
    raise PermissionDenied


def broken(request):
    raise ZeroDivisionError("a detail that is nobody's business")


class Routes:
    """The real routes, and two that fail."""

    handler400, handler403 = urls.handler400, urls.handler403
    handler404, handler500 = urls.handler404, urls.handler500
    urlpatterns = [path("denied", denied), path("broken", broken), *urls.urlpatterns]


@pytest.fixture
def visitor(settings):
    settings.ROOT_URLCONF = Routes
    return Client(raise_request_exception=False, enforce_csrf_checks=True)


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("address", ["", "/pair", "/topics", "/groups"])
def test_a_page_answers_to_reading_only_and_says_nothing_of_its_query(client, address, slash):
    address = f"{address}{slash}" or "/"
    answer = client.get(address, {"next": "//evil.example", "token": "s3cret", "user": "mallory"})
    assert answer.status_code == 200
    page = answer.content.decode()
    assert not [word for word in ("evil.example", "s3cret", "mallory") if word in page]
    assert client.post(address).status_code == 405


@pytest.mark.parametrize("ttl_s", [3600.0, 7.5, 2592000.0])
def test_the_pairing_page_knows_how_long_a_code_is_good(client, settings, ttl_s):
    settings.PAIRING_TTL_S = ttl_s
    page = client.get("/pair/").content.decode()
    assert float(page.partition('data-ttl-s="')[2].partition('"')[0]) == ttl_s


def test_the_console_knows_how_large_a_file_may_be(client, settings):
    settings.MEDIA_MAX_BYTES = 12345678
    assert 'data-max-bytes="12345678"' in client.get("/").content.decode()


@pytest.mark.parametrize("address", ["/", "/pair/", "/topics/", "/groups/", "/nothing"])
def test_a_page_has_no_script_or_style_of_its_own(client, address):
    page = client.get(address).content.decode()
    assert "<style" not in page and " style=" not in page and " onclick=" not in page
    assert all("src=" in tag for tag in page.split("<script")[1:])


@pytest.mark.parametrize(
    ("address", "status", "words"),
    [
        ("/nothing", 404, "Nothing is here"),
        ("/denied", 403, "This is not for you"),
        ("/broken", 500, "Something went wrong here"),
    ],
)
def test_people_are_told_of_an_error_on_a_page(visitor, address, status, words):
    answer = visitor.get(address)
    assert answer.status_code == status
    page = answer.content.decode()
    assert f"<h1>{words}</h1>" in page
    assert "nobody's business" not in page and address not in page


@pytest.mark.django_db
def test_a_form_from_elsewhere_is_refused_on_a_page(visitor):
    answer = visitor.post("/admin/login/", {"username": "boss"})
    assert answer.status_code == 403
    assert "Nothing was changed" in answer.content.decode()


def test_programs_are_told_of_a_refusal_in_json():
    answer = drf.permission_denied(RequestFactory().get("/api/x"), PermissionDenied())
    assert answer.status_code == 403
    assert b'"FORBIDDEN"' in answer.content
