"""Where the answers of an `openai` agent come from, and how long it waits for them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import httpx

MOST_URL = 500  # characters
_KEY = re.compile(r"[!-~]*")  # what may stand in a header


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An OpenAI-compatible API: `base_url` ends before `/chat/completions`; `key` may be empty."""

    name: str
    base_url: str
    model: str
    key: str = field(default="", repr=False)
    provider: str = "openai"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`first_s` ends with the first byte of the answer, `between_s` with each further one."""

    connect_s: float = 5
    first_s: float = 60
    between_s: float = 30
    whole_s: float = 600
    attempts: int = 3
    answer_characters: int = 200_000
    history_characters: int = 200_000
    backoff_s: float = 0.5


def complaints(*, base_url: str, model: str, key: str = "") -> dict[str, str]:
    """What is wrong with an endpoint, by field; no complaint repeats a key."""
    found = {}
    if not _is_base_url(base_url):
        found["base_url"] = (
            "it takes an address such as https://api.openai.com/v1: http or https,"
            " without a password, a query or a fragment"
        )
    if not model.strip() or not model.isprintable():
        found["model"] = "it takes the name of a model"
    if not _KEY.fullmatch(key):
        found["key"] = "it takes letters, digits and signs without spaces"
    return found


def origin_of(base_url: str) -> str:
    """Scheme, host and port: for whom a key is meant."""
    url = httpx.URL(base_url)
    port = url.port or {"http": 80, "https": 443}[url.scheme]
    return f"{url.scheme}://{url.host}:{port}"


def travels_openly(base_url: str) -> bool:
    """Whether what is sent there can be read on the way."""
    url = httpx.URL(base_url)
    return url.scheme == "http" and url.host not in {"localhost", "127.0.0.1", "::1"}


def _is_base_url(text: str) -> bool:
    if len(text) > MOST_URL or not text.isprintable() or {" ", "?", "#", "@"} & set(text):
        return False
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        return False
    return url.scheme in {"http", "https"} and bool(url.host) and url.port != 0
