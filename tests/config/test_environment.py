from __future__ import annotations

import stat

import pytest
from django.core.exceptions import ImproperlyConfigured

from config.environment import Environment
from tests.services.gateway import SECRETS, run_command


@pytest.fixture
def env(tmp_path):
    return Environment(tmp_path)


@pytest.mark.parametrize(
    ("read", "given"),
    [
        (lambda env: env.whole("X", 1, most=10), "abc"),
        (lambda env: env.whole("X", 1, most=10), "11"),
        (lambda env: env.whole("X", 1, most=10), "1.5"),
        (lambda env: env.seconds("X", 1.0), "soon"),
        (lambda env: env.seconds("X", 1.0), "-1"),
        (lambda env: env.seconds("X", 1.0), "nan"),
        (lambda env: env.flag("X", True), "maybe"),
        (lambda env: env.choice("X", "a", ["a", "b"]), "c"),
        (lambda env: env.origins("X"), "chat.example"),
        (lambda env: env.origins("X"), "https://chat.example/path"),
        (lambda env: env.origins("X"), "https://a.example,https://user@b.example"),
        (lambda env: env.networks("X"), "10.0.0.0/99"),
        (lambda env: env.redis("X"), "http://cache"),
        (lambda env: env.database("X", ""), "mysql://host/name"),
    ],
)
def test_a_wrong_value_is_refused_with_its_name_and_what_is_allowed(env, monkeypatch, read, given):
    monkeypatch.setenv("X", given)
    with pytest.raises(ImproperlyConfigured, match=r"^X: .* is not allowed; it takes .+"):
        read(env)


def test_good_values_are_read(env, monkeypatch):
    for value, read, expected in [
        ("7", lambda: env.whole("X", 1), 7),
        ("", lambda: env.whole("X", 1), 1),
        ("0.5", lambda: env.seconds("X", 1), 0.5),
        ("ON", lambda: env.flag("X", False), True),
        (" a , ,b ", lambda: env.items("X"), ["a", "b"]),
        ("HTTPS://Chat.example:8443", lambda: env.origins("X"), ["https://chat.example:8443"]),
        ("*", lambda: env.origins("X"), ["*"]),
        ("10.0.0.0/8,::1", lambda: env.networks("X"), ["10.0.0.0/8", "::1"]),
    ]:
        monkeypatch.setenv("X", value)
        assert read() == expected


def test_a_password_in_a_refused_url_is_not_shown(env, monkeypatch):
    monkeypatch.setenv("X", "mysql://user:s3cret@host/name")
    with pytest.raises(ImproperlyConfigured) as refused:
        env.database("X", "")
    assert "s3cret" not in str(refused.value)


def test_a_secret_is_generated_once_and_only_its_owner_may_read_it(env, tmp_path, monkeypatch):
    monkeypatch.delenv("X", raising=False)
    first = env.secret("X", tmp_path, generate=True)
    assert len(first) >= 32
    assert env.secret("X", tmp_path, generate=True) == first
    assert env.secret("Y", tmp_path, generate=True) != first
    (file,) = [file for file in (tmp_path / "secrets").iterdir() if file.name == "x"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_secret_comes_from_the_environment_or_a_file(env, tmp_path, monkeypatch):
    monkeypatch.setenv("X", "given")
    assert env.secret("X", tmp_path, generate=False) == "given"
    monkeypatch.delenv("X")
    (tmp_path / "file").write_text("from a file\n")
    monkeypatch.setenv("X_FILE", str(tmp_path / "file"))
    assert env.secret("X", tmp_path, generate=False) == "from a file"


@pytest.mark.parametrize(("name", "value"), [("X", ""), ("X_FILE", "/nowhere/at/all")])
def test_an_empty_or_unreadable_secret_is_refused(env, tmp_path, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ImproperlyConfigured, match=f"^{name}: "):
        env.secret("X", tmp_path, generate=True)


def test_an_unset_secret_is_refused_where_several_hosts_must_agree(env, tmp_path, monkeypatch):
    monkeypatch.delenv("X", raising=False)
    with pytest.raises(ImproperlyConfigured, match="^X is not set"):
        env.secret("X", tmp_path, generate=False)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("PING_INTERVAL_S", "often", "PING_INTERVAL_S: 'often'"),
        ("RATE_LIMIT_REPLY", "shout", "RATE_LIMIT_REPLY: 'shout'"),
        ("GATEWAY_TOKEN", "", "GATEWAY_TOKEN: "),
        ("DEFAULT_AGENT", "nobody", "DEFAULT_AGENT: 'nobody'"),
        ("SECRET_KEY", "short", "SECRET_KEY: "),
    ],
)
def test_the_server_refuses_to_start_on_a_wrong_setting(tmp_path, name, value, words):
    settings = {**SECRETS, "TRUNKLINE_HOME": str(tmp_path), name: value}
    done = run_command("check", env=settings, check=False)
    assert done.returncode != 0
    assert words in done.stderr


def test_with_postgresql_an_unset_secret_refuses_to_start(tmp_path):
    settings = {"TRUNKLINE_HOME": str(tmp_path), "DATABASE_URL": "postgres://u:p@127.0.0.1/x"}
    done = run_command("check", env=settings, check=False)
    assert done.returncode != 0
    assert "SECRET_KEY is not set" in done.stderr
