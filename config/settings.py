"""Every setting, with its unit and default: the only file that reads the environment. See
CONTRIBUTING.
"""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path
from typing import Any

from corsheaders.defaults import default_headers

from config import logs
from config.environment import Environment
from config.postgresql.connection import Connection

BASE_DIR = Path(__file__).resolve().parent.parent
env = Environment(BASE_DIR)

# --- Where things are kept -------------------------------------------------------------------
TRUNKLINE_HOME = env.home("TRUNKLINE_HOME", BASE_DIR / "var")

DATABASE = env.database("DATABASE_URL", f"sqlite:///{TRUNKLINE_HOME / 'trunkline.sqlite3'}")
EMBEDDED = str(DATABASE["ENGINE"]).endswith("sqlite3")
if EMBEDDED:
    DATABASE["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,  # seconds
        # FULL: what was answered with ok survives a power cut, for 0.3 ms a commit.
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
    }
    # Several threads share a test database only if it is a file.
    DATABASE["TEST"] = {"NAME": str(TRUNKLINE_HOME / "test.sqlite3")}
else:
    DATABASE["ENGINE"] = "config.postgresql"
    # A request's thread ends with it: what it had opened by itself would be opened anew each time.
    DATABASE["CONN_MAX_AGE"] = 0
    DATABASE["CONN_HEALTH_CHECKS"] = True
    # A process that stalls in a transaction, and wakes later, neither holds others up for longer
    # than half a command's lease, nor finishes what they have done meanwhile.
    STALLED_MS = round(env.seconds("COMMAND_LEASE_S", 30, least=1) * 500)
    DATABASE["OPTIONS"] = {
        "connect_timeout": 3,  # seconds
        "pool": {
            "connection_class": Connection,
            "min_size": 1,
            "max_size": env.whole("DATABASE_CONNECTIONS", 20, least=4),  # of one process
            "timeout": 3,  # seconds to wait for a free one
        },
        "options": f"-c idle_in_transaction_session_timeout={STALLED_MS}",
        **(DATABASE.get("OPTIONS") or {}),  # type: ignore[dict-item]
    }
DATABASES: dict[str, Any] = {"default": DATABASE}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env.redis("REDIS_URL")
CHANNEL_LAYERS = (
    {
        "default": {
            "BACKEND": "realtime.bus.layer.PubSubLayer",
            "CONFIG": {"hosts": [REDIS_URL]},
        }
    }
    if REDIS_URL
    else {}
)

# --- Secrets: generated into TRUNKLINE_HOME at the first run, mode 0600 ------------------------
SECRET_KEY = env.secret("SECRET_KEY", TRUNKLINE_HOME, generate=EMBEDDED)
GATEWAY_TOKEN = env.secret("GATEWAY_TOKEN", TRUNKLINE_HOME, generate=EMBEDDED)

# --- Who may connect from where ----------------------------------------------------------------
DEBUG = env.flag("DEBUG", False)
ALLOWED_HOSTS = env.hosts("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
ALLOWED_ORIGINS = env.origins("ALLOWED_ORIGINS")  # empty: only the server's own
TRUSTED_PROXIES = env.networks("TRUSTED_PROXIES")
CSRF_TRUSTED_ORIGINS = [origin for origin in ALLOWED_ORIGINS if origin != "*"]
CORS_ALLOWED_ORIGINS = CSRF_TRUSTED_ORIGINS
CORS_ALLOW_ALL_ORIGINS = "*" in ALLOWED_ORIGINS
CORS_URLS_REGEX = r"^/(api|v1)/.*$"
CORS_ALLOW_HEADERS = (
    *default_headers,
    "anthropic-beta",
    "anthropic-client-feature",
    "anthropic-client-platform",
    "anthropic-client-version",
    "anthropic-version",
    "x-organization-uuid",
    "x-goclaw-sender-id",
    "x-goclaw-tenant-id",
    "x-goclaw-user-id",
)

# --- 001, the gateway (PROTOCOLS.md section 2) -------------------------------------------------
GATEWAY_OWNER_IDS = env.items("GATEWAY_OWNER_IDS")
RATE_LIMIT_RPM = env.whole("RATE_LIMIT_RPM", 0)  # requests per minute and user; 0: off
RATE_LIMIT_BURST = env.whole("RATE_LIMIT_BURST", 5, least=1)
RATE_LIMIT_REPLY = env.choice("RATE_LIMIT_REPLY", "drop", ["drop", "error"])
PAIRING_TTL_S = env.seconds("PAIRING_TTL_S", 3600, least=1)
PAIRING_MAX_PENDING = env.whole("PAIRING_MAX_PENDING", 3, least=1)  # per client address
PAIRING_MAX_PENDING_TOTAL = env.whole("PAIRING_MAX_PENDING_TOTAL", 200, least=1)
PAIRED_DEVICE_TTL_S = env.seconds("PAIRED_DEVICE_TTL_S", 30 * 86400, least=1)
CONNECT_TIMEOUT_S = env.seconds("CONNECT_TIMEOUT_S", 10, least=0.1)
DEFAULT_AGENT = env.text("DEFAULT_AGENT", "echo")

# --- The agent `openai`: any endpoint with OpenAI's chat completions; a model turns it on ---------
OPENAI_MODEL = env.text("OPENAI_MODEL")
OPENAI_BASE_URL = env.text("OPENAI_BASE_URL") or "https://api.openai.com/v1"
OPENAI_API_KEY = env.given_secret("OPENAI_API_KEY")
# These hold for the endpoints of the admin as well.
OPENAI_CONNECT_S = env.seconds("OPENAI_CONNECT_S", 5, least=0.1)
OPENAI_FIRST_S = env.seconds("OPENAI_FIRST_S", 60, least=0.1)  # until the answer begins
OPENAI_BETWEEN_S = env.seconds("OPENAI_BETWEEN_S", 30, least=0.1)  # without a byte of it
OPENAI_WHOLE_S = env.seconds("OPENAI_WHOLE_S", 600, least=0.1)  # of a run, with every attempt
OPENAI_ATTEMPTS = env.whole("OPENAI_ATTEMPTS", 3, least=1, most=10)
OPENAI_MAX_ANSWER = env.whole("OPENAI_MAX_ANSWER", 200_000, least=1, most=500_000)  # characters
OPENAI_MAX_HISTORY = env.whole("OPENAI_MAX_HISTORY", 200_000)  # characters, of earlier messages

# --- 000, edge agents (PROTOCOLS.md section 1) -------------------------------------------------
EDGE_SECRET = env.secret("EDGE_SECRET", TRUNKLINE_HOME, generate=EMBEDDED)
RELAY_WEBHOOK_SECRET = env.secret(  # the HTTP side (1.7)
    "RELAY_WEBHOOK_SECRET", TRUNKLINE_HOME, generate=False, default=EDGE_SECRET
)
EDGE_AUTH_FAILURES_PER_MINUTE = env.whole(  # per address and agent
    "EDGE_AUTH_FAILURES_PER_MINUTE", 10, least=1
)
COMMAND_LEASE_S = env.seconds("COMMAND_LEASE_S", 30, least=1)

# --- 003, group routing (PROTOCOLS.md section 4) -----------------------------------------------
AETHER_REQUIRE_API_KEY = env.flag("AETHER_REQUIRE_API_KEY", True)  # or a jwt; off: guests too
AETHER_ANNOUNCE_PRESENCE = env.flag("AETHER_ANNOUNCE_PRESENCE", False)
AETHER_MESSAGES_PER_S = env.whole("AETHER_MESSAGES_PER_S", 0)  # of one connection; 0: off

# --- 004, topics (PROTOCOLS.md section 5) -------------------------------------------------------
NEXUS_JWT_SECRET = env.secret("NEXUS_JWT_SECRET", TRUNKLINE_HOME, generate=EMBEDDED)
NEXUS_OBSERVERS_PUBLISH = env.flag("NEXUS_OBSERVERS_PUBLISH", True)  # role observer, our viewer

# --- 003 and 004: what a subscriber can recover, of one topic or group (either 0: nothing) -------
WORKER_GRACE_S = env.seconds("WORKER_GRACE_S", 30, least=1)
SESSION_REPLAY_MAX = env.whole("SESSION_REPLAY_MAX", 1000, most=1_000_000)  # events
HISTORY_SIZE = env.whole("HISTORY_SIZE", 1000, most=100_000)  # messages
HISTORY_TTL_S = env.seconds("HISTORY_TTL_S", 300, most=86400)

# --- All protocols -----------------------------------------------------------------------------
PING_INTERVAL_S = env.seconds("PING_INTERVAL_S", 30, least=0.1)  # PROTOCOLS.md 2.10
PING_TIMEOUT_S = env.seconds("PING_TIMEOUT_S", 30, least=0.1)  # 30 + 30: dead at 60 s
OUTBOUND_MAX_BYTES = env.whole("OUTBOUND_MAX_BYTES", 1024 * 1024, least=1024)  # per peer
WS_DEFLATE = env.flag("WS_DEFLATE", False)
DRAIN_S = env.seconds("DRAIN_S", 20)
NODE_LEASE_S = env.seconds("NODE_LEASE_S", 15, least=1)
PRESENCE_TTL_S = env.seconds("PRESENCE_TTL_S", 3600, least=1)  # silent for longer: not listed
HTTP_MAX_BODY_BYTES = env.whole("HTTP_MAX_BODY_BYTES", 2 * 1024 * 1024, least=1024)
LOG_FORMAT = env.choice("LOG_FORMAT", "console", ["console", "json"])

# --- Media (PROTOCOLS.md 2.11) -----------------------------------------------------------------
MEDIA_MAX_BYTES = env.whole("MEDIA_MAX_BYTES", 50 * 1024 * 1024, least=1)  # of one file
MEDIA_QUOTA_BYTES = env.whole("MEDIA_QUOTA_BYTES", 1024**3)  # per user; 0: none
STORAGES: dict[str, Any] = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "media": env.media_storage("MEDIA_STORAGE", TRUNKLINE_HOME / "media"),
}
# Beside the media: a received file is moved there, not copied.
FILE_UPLOAD_TEMP_DIR = TRUNKLINE_HOME / "incoming"
FILE_UPLOAD_TEMP_DIR.mkdir(mode=0o700, exist_ok=True)
FILE_UPLOAD_MAX_MEMORY_SIZE = 64 * 1024  # bytes of a request body held in memory, then on disk

# --- Django ------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "daphne",  # before staticfiles: serves `runserver`
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "corsheaders",
    "csp",
    "axes",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "realtime",
    "accounts",
    "sessions_app",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
APPEND_SLASH = False  # API paths work with and without; a redirect would lose a POST
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
STATIC_URL = "/static/"
STATIC_ROOT = TRUNKLINE_HOME / "static"
STATIC_ROOT.mkdir(exist_ok=True)  # whitenoise wants it, though it stays empty (see below)
STATICFILES_DIRS = [("client", BASE_DIR / "clients" / "js")]
# Straight from the source folders: a fresh checkout serves without a collecting step.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
    )
]
AXES_FAILURE_LIMIT = 10  # per address and user name; loopback is no exception
AXES_COOLOFF_TIME = dt.timedelta(minutes=5)
AXES_LOCKOUT_PARAMETERS = [["ip_address", "username"]]
AXES_RESET_ON_SUCCESS = True
AXES_VERBOSE = False
AXES_ENABLE_ACCESS_FAILURE_LOG = False
AXES_ENABLE_ADMIN = False  # `manage.py axes_list_attempts` and `axes_reset` do the same

SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "connect-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.authentication.BearerAuthentication",
        "accounts.authentication.StaffSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["accounts.permissions.Operator"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["config.drf.Parser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "config.drf.exception_handler",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Trunkline",
    "VERSION": "0.1.0",
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_INCLUDE_SCHEMA": False,
    "ENUM_NAME_OVERRIDES": {"CommandStatus": "sessions_app.models.commands.Status"},
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}
SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": dt.timedelta(minutes=5),
    "REFRESH_TOKEN_LIFETIME": dt.timedelta(days=7),
    "ALGORITHM": "HS256",
    "SIGNING_KEY": SECRET_KEY,
    "AUDIENCE": "trunkline",
    "ISSUER": "trunkline",
    "LEEWAY": 5,  # seconds
}

LOGGING = logs.configuration(LOG_FORMAT, testing="pytest" in sys.modules)
