"""The first-run page: who sees it, and that its lines are true."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from django.test import Client

from accounts.models import Account, Membership, User
from accounts.services import credentials, keys
from realtime import routing, welcome
from tests.services.gateway import clean_environment

ROOT = Path(__file__).resolve().parents[2]
WELCOME, FRONT = "/admin/welcome/", "/admin/"
INVITATION = 'class="newcomer"'


def staff(role: str, *, superuser: bool = False, account: str = "default") -> Client:
    home = Account.objects.get_or_create(slug=account, defaults={"name": account})[0]
    name = f"{role}-{account}-{superuser}"
    user = User.objects.create_user(name, is_staff=True, is_superuser=superuser)
    Membership.objects.create(user=user, account=home, role=role)
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.mark.django_db
def test_the_page_is_for_administrators(client: Client) -> None:
    Account.default()
    assert client.get(WELCOME)["Location"].startswith("/admin/login/")
    for role in ("viewer", "operator"):
        assert staff(role).get(WELCOME).status_code == 403
    for account in ("default", "other"):
        assert staff("admin", account=account).get(WELCOME).status_code == 200


@pytest.mark.django_db
def test_only_superusers_see_what_is_set_and_nobody_sees_a_secret(settings) -> None:
    settings.EMBEDDED = True  # whatever database this run has
    settings.REDIS_URL = "redis://user:a-password@bus.example/0"
    settings.ALLOWED_HOSTS = ["testserver", "inner.example"]
    theirs = staff("admin").get(WELCOME).content.decode()
    ours = staff("owner", superuser=True).get(WELCOME).content.decode()
    assert ">set</span>" not in theirs
    assert ours.count(">set</span>") == 2
    for page in (theirs, ours):
        for secret in ("a-password", "inner.example", settings.GATEWAY_TOKEN, settings.SECRET_KEY):
            assert secret not in page


@pytest.mark.django_db
def test_the_front_page_points_to_it_until_somebody_is_let_in() -> None:
    Account.default()
    client, other = staff("admin"), staff("admin", account="other")
    viewer = staff("viewer")
    assert INVITATION in client.get(FRONT).content.decode()
    assert INVITATION not in viewer.get(FRONT).content.decode()
    user = User.objects.get(username="admin-default-False")
    keys.create(principal=credentials.of_user(user=user), name="k", user=user)
    page = client.get(FRONT).content.decode()
    assert INVITATION not in page
    assert WELCOME in page, "the header leads there always"
    assert INVITATION in other.get(FRONT).content.decode(), "another account has nobody yet"


def test_every_protocol_with_clients_has_its_line() -> None:
    served = {protocol.name for protocol in routing.PROTOCOLS} - {"admin"}
    assert served <= set(welcome.LINES)


@pytest.mark.live
@pytest.mark.timeout(300)  # eight interpreters, one after the other
def test_the_lines_do_what_they_say(serve) -> None:
    """As they stand in the page of a running server, one after the other in one shell."""
    server = serve(database="sqlite")
    server.run("shell", "--no-imports", "-c", MAKE_ADMIN)
    page = read_as_admin(server)
    lines = [html.unescape(text) for text in re.findall(r'<code class="line">(.*?)</code>', page)]
    assert len(lines) == 4 + len(set(welcome.LINES) & {p.name for p in routing.PROTOCOLS})
    script = "\n".join(f"{line}; echo; echo --" for line in lines)
    # The page says `alice`, whom the tests have already; the interpreter is the one that runs them.
    script = script.replace("alice", "walter").replace(".venv/bin/python", sys.executable)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=ROOT,
        env=clean_environment(server.environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
    )
    told = done.stdout.split("--\n")
    person, key, agent, chat, session, group, topics, upload, api = told[:9]
    assert "walter" in person, done.stderr
    assert re.fullmatch(r"gwk_\S+", key.strip())
    assert '"role":"operator"' in chat.replace(" ", "") and "run.completed" in chat
    said = [json.loads(line)["what"] for line in agent.splitlines() if line.startswith("{")]
    assert said[:1] == ["connected"] and {"received", "acted", "acked"} <= set(said), done.stderr
    kinds = [event["type"] for event in json.loads(session)["data"]]
    assert kinds == ["user", "assistant", "result"], session
    assert '"from_id":"laptop"' in group and '"msg":"hello"' in group
    assert '"type":"message","channel":"telemetry","from":"usr_1","data":{"cpu":7}' in topics
    assert '"mime_type":"application/pdf"' in upload.replace(" ", "")
    assert '"name":"laptop"' in api.replace(" ", "")


PASSWORD = "a-long-and-quiet-afternoon"
MAKE_ADMIN = f"""
from accounts.services import people
people.create(username="boss", password="{PASSWORD}", role="admin", account="default")
"""


def read_as_admin(server) -> str:
    with httpx.Client(base_url=server.url, trust_env=False, timeout=30) as browser:
        form = browser.get("/admin/login/")
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form.text)[1]
        data = {
            "username": "boss",
            "password": PASSWORD,
            "csrfmiddlewaretoken": token,
            "next": WELCOME,
        }
        answer = browser.post("/admin/login/", data=data, follow_redirects=True)
        assert answer.status_code == 200
        return answer.text
