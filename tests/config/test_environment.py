from __future__ import annotations

import stat
from pathlib import Path

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
        (lambda env: env.origins("X"), "https://*.chat.example"),
        (lambda env: env.origins("X"), "https://chat.example:"),
        (lambda env: env.origins("X"), "https://chat.example:0"),
        (lambda env: env.origins("X"), "https://chat.example:99999"),
        (lambda env: env.origins("X"), "https://chat example"),
        (lambda env: env.origins("X"), "https://chat.example https://b.example"),
        (lambda env: env.hosts("X", ["a"]), ""),
        (lambda env: env.hosts("X", ["a"]), " , "),
        (lambda env: env.hosts("X", ["a"]), "https://chat.example"),
        (lambda env: env.hosts("X", ["a"]), "chat.example:8000"),
        (lambda env: env.hosts("X", ["a"]), "*.chat.example"),
        (lambda env: env.hosts("X", ["a"]), "."),
        (lambda env: env.redis("X"), "http://cache"),
        (lambda env: env.redis("X"), "redis://cache:port/0"),
        (lambda env: env.redis("X"), "redis://cache:99999"),
        (lambda env: env.redis("X"), "redis://[::1"),
        (lambda env: env.database("X", ""), "sqlite"),
        (lambda env: env.database("X", ""), "postgres"),
        (lambda env: env.database("X", ""), "sqlite:///"),
        (lambda env: env.database("X", ""), "postgres://host"),
        (lambda env: env.database("X", ""), "postgres://host:port/name"),
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
        ("https://a.b:443", lambda: env.origins("X"), ["https://a.b"]),
        (
            "http://a.b:80,http://a.b:443",
            lambda: env.origins("X"),
            ["http://a.b", "http://a.b:443"],
        ),
        ("http://[::1]:8000", lambda: env.origins("X"), ["http://[::1]:8000"]),
        (
            "Chat.example,.b.c,[::1],*",
            lambda: env.hosts("X", []),
            ["chat.example", ".b.c", "[::1]", "*"],
        ),
        ("sqlite:////a/b", lambda: env.database("X", "")["NAME"], "/a/b"),
        ("postgres://u:p@h:1/n", lambda: env.database("X", "")["NAME"], "n"),
        ("unix:///run/redis", lambda: env.redis("X"), "unix:///run/redis"),
        ("", lambda: env.redis("X"), ""),
        ("10.0.0.0/8,::1", lambda: env.networks("X"), ["10.0.0.0/8", "::1"]),
    ]:
        monkeypatch.setenv("X", value)
        assert read() == expected


def test_bounds_are_written_as_people_write_them(env, monkeypatch):
    monkeypatch.setenv("X", "-1")
    for read, words in [
        (lambda: env.whole("X", 1), "a whole number from 0 to 9007199254740992"),
        (lambda: env.seconds("X", 1, least=0.1), "seconds from 0.1 to 1000000000"),
    ]:
        with pytest.raises(ImproperlyConfigured) as refused:
            read()
        assert words in str(refused.value)


def test_the_home_is_made_or_closed_to_others(env, tmp_path, monkeypatch):
    for name, before in [("new/er", None), ("open", 0o755), ("group", 0o770), ("kept", 0o500)]:
        home = tmp_path / name
        if before is not None:
            home.mkdir()
            home.chmod(before)
        monkeypatch.setenv("X", str(home))
        assert env.home("X", tmp_path) == home
        assert stat.S_IMODE(home.stat().st_mode) == (0o500 if before == 0o500 else 0o700)


def test_a_home_that_cannot_be_one_is_refused(env, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    for path in (tmp_path / "file", tmp_path / "file" / "below", shared):
        monkeypatch.setenv("X", str(path))
        with pytest.raises(ImproperlyConfigured, match=r"^X: .* is not allowed; it takes .+"):
            env.home("X", tmp_path)
    assert stat.S_IMODE(shared.stat().st_mode) == 0o1777


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


def test_a_secret_that_others_have_made_may_be_unset_given_or_in_a_file(env, tmp_path, monkeypatch):
    monkeypatch.delenv("X", raising=False)
    assert env.given_secret("X") == ""
    (tmp_path / "file").write_text("from a file\n")
    monkeypatch.setenv("X_FILE", str(tmp_path / "file"))
    assert env.given_secret("X") == "from a file"
    monkeypatch.setenv("X", " given ")
    assert env.given_secret("X") == "given"
    monkeypatch.setenv("X", "")
    monkeypatch.setenv("X_FILE", "/nowhere/at/all")
    with pytest.raises(ImproperlyConfigured, match="^X_FILE: "):
        env.given_secret("X")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("PING_INTERVAL_S", "often", "PING_INTERVAL_S: 'often'"),
        ("RATE_LIMIT_REPLY", "shout", "RATE_LIMIT_REPLY: 'shout'"),
        ("GATEWAY_TOKEN", "", "GATEWAY_TOKEN: "),
        ("EDGE_AUTH_FAILURES_PER_MINUTE", "0", "EDGE_AUTH_FAILURES_PER_MINUTE: '0'"),
        ("AETHER_MESSAGES_PER_S", "-1", "AETHER_MESSAGES_PER_S: '-1'"),
        ("AETHER_REQUIRE_API_KEY", "maybe", "AETHER_REQUIRE_API_KEY: 'maybe'"),
        ("AETHER_ANNOUNCE_PRESENCE", "maybe", "AETHER_ANNOUNCE_PRESENCE: 'maybe'"),
        ("NEXUS_JWT_SECRET", "", "NEXUS_JWT_SECRET: "),
        ("NEXUS_OBSERVERS_PUBLISH", "maybe", "NEXUS_OBSERVERS_PUBLISH: 'maybe'"),
        ("PRESENCE_TTL_S", "0", "PRESENCE_TTL_S: '0'"),
        ("HISTORY_SIZE", "-1", "HISTORY_SIZE: '-1'"),
        ("HISTORY_TTL_S", "a while", "HISTORY_TTL_S: 'a while'"),
        ("DEFAULT_AGENT", "nobody", "DEFAULT_AGENT: 'nobody'"),
        ("OPENAI_ATTEMPTS", "0", "OPENAI_ATTEMPTS: '0'"),
        ("OPENAI_MAX_ANSWER", "600000", "OPENAI_MAX_ANSWER: '600000'"),
        ("OPENAI_API_KEY_FILE", "/nowhere", "OPENAI_API_KEY_FILE: '/nowhere'"),
        ("SECRET_KEY", "short", "SECRET_KEY: "),
        ("DATABASE_URL", "sqlite", "DATABASE_URL: 'sqlite'"),
        ("TRUNKLINE_HOME", str(Path(__file__)), "TRUNKLINE_HOME: "),
        ("REDIS_URL", "redis://cache:port", "REDIS_URL: "),
        ("ALLOWED_HOSTS", "", "ALLOWED_HOSTS: "),
        ("ALLOWED_ORIGINS", "https://*.a.b", "ALLOWED_ORIGINS: "),
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


def test_media_stays_in_the_home_unless_a_bucket_is_named(env, monkeypatch, tmp_path):
    monkeypatch.delenv("X", raising=False)
    row = env.media_storage("X", tmp_path)
    assert row["BACKEND"].endswith("FileSystemStorage")
    assert row["OPTIONS"]["location"] == tmp_path
    monkeypatch.setenv("X", "s3://ours/in/here?endpoint_url=https://s3.example&region_name=eu-1")
    row = env.media_storage("X", tmp_path)
    assert row["BACKEND"] == "storages.backends.s3.S3Storage"
    assert row["OPTIONS"] == {
        "bucket_name": "ours",
        "location": "in/here",
        "max_memory_size": 65536,
        "endpoint_url": "https://s3.example",
        "region_name": "eu-1",
    }


@pytest.mark.parametrize(
    "given",
    [
        "ours",
        "s3://",
        "s3:///x",
        "https://ours",
        "s3://key:secret@ours",
        "s3://ours?acl=public",
        "s3://ours?x",
    ],
)
def test_a_wrong_bucket_is_refused_without_showing_what_is_secret(
    env, monkeypatch, tmp_path, given
):
    monkeypatch.setenv("X", given)
    with pytest.raises(ImproperlyConfigured, match=r"^X: .* is not allowed; it takes s3://") as no:
        env.media_storage("X", tmp_path)
    assert "secret" not in str(no.value)


def test_a_bucket_without_its_packages_is_refused_with_what_to_install(env, monkeypatch, tmp_path):
    monkeypatch.setenv("X", "s3://ours")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImproperlyConfigured, match=r"pip install -r requirements-s3\.in"):
        env.media_storage("X", tmp_path)
