"""Logging: one line per event, JSON or console, with every secret taken out on the way."""

from __future__ import annotations

import re
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

from realtime import logtail

REDACTED = "[redacted]"

_SECRET_KEYS = re.compile(
    r"token|secret|password|authorization|cookie|api_?key|jwt|sender_?id|credential|query|payload"
    r"|pairing_?code|^message_text$",
    re.IGNORECASE,
)
# Values that carry a secret wherever they stand: query strings, bearer headers, our own keys, JWTs.
_SECRET_TEXTS = [
    (re.compile(r"(\?)[^\s\"'>\]]+"), r"\1" + REDACTED),
    (re.compile(r"\b((?:api_key|jwt|token)=)[^&\s\"'>]+", re.IGNORECASE), r"\1" + REDACTED),
    (
        re.compile(r"(x-api-key[\"']?\s*[:,=]\s*b?[\"']?)[^\s\"',]+", re.IGNORECASE),
        r"\1" + REDACTED,
    ),
    (re.compile(r"(Bearer )[^\s\"',]+", re.IGNORECASE), r"\1" + REDACTED),
    (re.compile(r"gw[ke]_[A-Za-z0-9_-]{8,}"), REDACTED),
    (re.compile(r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"), REDACTED),
    (re.compile(r"(://[^/\s:@]*:)[^/\s@]+@"), r"\1" + REDACTED + "@"),
    # Paths with a sender id or a code in them, of the API and of the admin.
    (re.compile(r"(/pairings/|/pairing/code/)[^/\s\"'>?]+"), r"\1" + REDACTED),
]


def redact(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """structlog processor: no token, query string, secret or payload leaves the process in a log
    line.
    """
    event.pop("request", None)  # Django hangs the whole request on its 4xx lines
    for key, value in event.items():
        if key == "event" or not _SECRET_KEYS.search(key):
            event[key] = _clean(value)
        else:
            event[key] = REDACTED
    return event


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        for pattern, replacement in _SECRET_TEXTS:
            value = pattern.sub(replacement, value)
        return value
    if isinstance(value, dict):
        return {
            key: REDACTED if _SECRET_KEYS.search(str(key)) else _clean(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_clean(inner) for inner in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return _clean(repr(value))  # what the renderer would show, which is not ours to trust


def configuration(log_format: str, *, testing: bool = False) -> dict[str, Any]:
    """Django's LOGGING; also sets structlog up. `log_format`: console or json."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Any = structlog.processors.JSONRenderer()
    if log_format == "console":
        renderer = structlog.dev.ConsoleRenderer(
            colors=False, exception_formatter=structlog.dev.plain_traceback
        )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared[:2],
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=not testing,
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "gateway": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": shared,
                "processors": [
                    structlog.processors.TimeStamper(fmt="iso", utc=True),
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.format_exc_info,
                    redact,
                    logtail.offer,
                    renderer,
                ],
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "gateway"}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {
            "gateway": {"level": "INFO"},
            "uvicorn": {"level": "WARNING"},
            "uvicorn.access": {"level": "CRITICAL"},  # it prints query strings
            "daphne": {"level": "WARNING"},
            "django.channels.server": {"level": "WARNING"},
            "axes": {"level": "ERROR"},
            # A traceback for every scanner that names another host; it is answered 400.
            "django.security.DisallowedHost": {"level": "CRITICAL"},
        },
    }
