"""Settings of the Partner Portal. What an operator may set comes from the environment; `.env.example` lists it."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from urllib.parse import urlsplit

import django_stubs_ext
import environ

from portal.keyfile import read_or_create_key, read_or_create_secret

django_stubs_ext.monkeypatch()

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
environ.Env.read_env(BASE_DIR / ".env")

TESTING = "pytest" in sys.modules
DEBUG = env.bool("DEBUG", default=False)
VAR_DIR = Path(env.str("PORTAL_VAR_DIR", default=str(BASE_DIR / "var")))
VAR_DIR.mkdir(parents=True, exist_ok=True)
# SQLite or the file-system broker without DEBUG is refused unless the operator says that one host is meant.
SINGLE_HOST = env.bool("PORTAL_SINGLE_HOST", default=False)

SECRET_KEY = env.str("SECRET_KEY", default="") or (
    read_or_create_secret(VAR_DIR / "secret_key") if DEBUG or TESTING else ""
)
# Former keys, while sessions and links signed with them go on.
SECRET_KEY_FALLBACKS: list[str] = env.list("SECRET_KEY_FALLBACKS", default=[])
# Comma-separated Fernet keys, newest first. Without it the first start writes var/keys.
ENCRYPTION_KEYS: list[str] = env.list("PORTAL_ENCRYPTION_KEYS", default=[]) or [read_or_create_key(VAR_DIR / "keys")]

PUBLIC_URL = env.str("PORTAL_PUBLIC_URL", default="http://127.0.0.1:8000").rstrip("/")
_public = urlsplit(PUBLIC_URL)
ALLOWED_HOSTS: list[str] = env.list("ALLOWED_HOSTS", default=[]) or (
    ["*"] if DEBUG else [_public.hostname or "localhost", "127.0.0.1", "localhost"]
)
CSRF_TRUSTED_ORIGINS = [f"{_public.scheme}://{_public.netloc}"]
PORTAL_ALLOW_PRIVATE_URLS = env.bool("PORTAL_ALLOW_PRIVATE_URLS", default=DEBUG)
# Addresses of reverse proxies whose X-Forwarded-For is believed.
TRUSTED_PROXIES: list[str] = env.list("PORTAL_TRUSTED_PROXIES", default=[])

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "crispy_forms",
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_structlog",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "portal",
    "presence",
    "cpaas",
    "xmpp",
    "sandbox",
]

MIDDLEWARE = [
    "portal.middleware.EdgeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "portal.middleware.RequestContextMiddleware",
    "portal.middleware.ShortWayMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "portal.middleware.RequestLogMiddleware",
    "portal.middleware.ServiceAwayMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "portal.middleware.SessionLimitsMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "portal.middleware.ViewerTimeZoneMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]

# Below these paths only the middleware before ShortWayMiddleware runs: webhooks of carriers, files.
SHORT_WAYS = ["/webhooks/", "/files/"]

ROOT_URLCONF = "portal.urls"
WSGI_APPLICATION = "portal.wsgi.application"
ASGI_APPLICATION = "portal.asgi.application"
APPEND_SLASH = False

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
            ],
        },
    },
]

# --- Database -------------------------------------------------------------------------------------------------------
# No ATOMIC_REQUESTS: no transaction is open while we talk to a carrier (architecture, rule 3).
DATABASES = {"default": env.db("DATABASE_URL", default=f"sqlite:///{VAR_DIR / 'portal.sqlite3'}")}
DATABASE = DATABASES["default"]
IS_SQLITE = DATABASE["ENGINE"].endswith("sqlite3")
if IS_SQLITE:
    DATABASE["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-16000;",
    }
    # pytest gives each xdist worker its own file beside this one.
    DATABASE["TEST"] = {"NAME": str(VAR_DIR / "test.sqlite3")}
else:
    _server_settings = {
        "plan_cache_mode": "force_generic_plan",
        # So long a process that is stopped in the middle of a transaction, or its machine, keeps others from its rows.
        # Tests wait within a transaction.
        "idle_in_transaction_session_timeout": 0 if TESTING else "10s",
    }
    # A database that hangs must not take every web thread with it.
    DATABASE["OPTIONS"] = {
        "connect_timeout": 5,
        # For `portal.sql.execute_prepared`: Django turns preparing off, and by default the server plans a statement
        # that takes arrays anew for each length.
        "prepare_threshold": 5,
        "options": " ".join(f"-c {name}={value}" for name, value in _server_settings.items()),
        **DATABASE.get("OPTIONS", {}),
    }
DATABASE["CONN_MAX_AGE"] = env.int("CONN_MAX_AGE", default=None)
DATABASE["CONN_HEALTH_CHECKS"] = not IS_SQLITE
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Broker, wake-ups, cache ----------------------------------------------------------------------------------------
REDIS_URL = env.str("REDIS_URL", default="")
CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", default="") or REDIS_URL or "atomicfs://"
CACHES = {
    "default": (
        {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL, "KEY_PREFIX": "portal"}
        if REDIS_URL
        else {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "portal_cache"}
    )
}

# --- People ---------------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "portal.PortalAccount"
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
        "OPTIONS": {"user_attributes": ("username", "login", "name", "email")},
    },
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "portal.passwords.MaximumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
    {"NAME": "portal.passwords.ObviousPasswordValidator"},
]
if TESTING:
    PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
# A staff session ends so long after the login, whatever is done in it, and when nothing is done for so long.
SESSION_COOKIE_AGE = env.int("PORTAL_SESSION_S", default=12 * 3600)
SESSION_IDLE_S = env.int("PORTAL_SESSION_IDLE_S", default=3600)
# Whether an account without a second factor gets no further than to the page where one is set up.
REQUIRE_2FA = env.bool("PORTAL_REQUIRE_2FA", default=False)
DEVICE_TOKEN_IDLE_DAYS = 90
STAFF_TOKEN_DAYS = 365
LOGIN_ATTEMPTS_PER_MINUTE = env.int("PORTAL_LOGIN_ATTEMPTS_PER_MINUTE", default=10)

# --- Time and language ----------------------------------------------------------------------------------------------
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
USE_I18N = True
FORMAT_MODULE_PATH = ["portal.formats"]

# --- Files ----------------------------------------------------------------------------------------------------------
STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static"
STATIC_ROOT.mkdir(exist_ok=True)
STATICFILES_DIRS = [BASE_DIR / "static"]
MEDIA_ROOT = Path(env.str("MEDIA_ROOT", default=str(VAR_DIR / "media")))
# The group may read: the web server that hands files out where PORTAL_ACCEL_FILES is set (deploy/nginx).
FILE_UPLOAD_PERMISSIONS, FILE_UPLOAD_DIRECTORY_PERMISSIONS = 0o640, 0o750
# The location of the web server in front under which it finds MEDIA_ROOT, to hand files out itself; "" for none.
ACCEL_FILES = env.str("PORTAL_ACCEL_FILES", default="")
STORAGES = {
    "default": {"BACKEND": "portal.storage.DurableStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = DEBUG or TESTING
# Files are looked for when asked for: every client of a test makes the middleware anew, which would list them all.
WHITENOISE_AUTOREFRESH = DEBUG or TESTING
if not (DEBUG or TESTING):
    STORAGES["staticfiles"]["BACKEND"] = "whitenoise.storage.CompressedManifestStaticFilesStorage"

# --- Mail -----------------------------------------------------------------------------------------------------------
vars().update(env.email_url("EMAIL_URL", default="smtp://127.0.0.1:8125"))
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="Partner Portal <portal@localhost>")

# --- Transport security ---------------------------------------------------------------------------------------------
_https = _public.scheme == "https"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _https
CSRF_COOKIE_HTTPONLY = True  # forms carry the token, no script reads the cookie
# Without a proxy that says which requests came by https, every one would be sent there for ever.
SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", default=_https and bool(TRUSTED_PROXIES))
# Asked over plain http by the machines that watch over us.
SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz|metrics)$"]
SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", default=31536000 if _https else 0)
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.bool("SECURE_HSTS_INCLUDE_SUBDOMAINS", default=_https)
SECURE_HSTS_PRELOAD = env.bool("SECURE_HSTS_PRELOAD", default=_https)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXIES else None
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
# Who may read /metrics besides the machine itself: whoever sends this as a bearer token.
METRICS_TOKEN = env.str("PORTAL_METRICS_TOKEN", default="")
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
# Where a body may be larger: a file of 25 MB and the form around it.
LARGE_BODIES = {"/api/v1/attachments/": 26 * 1024 * 1024}

# --- Messaging ------------------------------------------------------------------------------------------------------
RETENTION_DAYS = env.int("RETENTION_DAYS", default=90)
EVENT_DAYS = 7
WEBHOOK_EVENT_DAYS = 14
QUEUE_TTL_S = env.int("PORTAL_QUEUE_TTL_S", default=4 * 3600)
# Shares of the XMPP accounts that workers take and give. The same on every machine, and never changed while any runs.
XMPP_SHARDS = env.int("PORTAL_XMPP_SHARDS", default=16)
# An XMPP connection that answers nothing for so long is dead.
XMPP_SILENCE_S = env.float("PORTAL_XMPP_SILENCE_S", default=75.0)
# Auto-subscribe asks no further when a user watches so many (S0.30).
XMPP_AUTO_SUBSCRIBE_CAP = env.int("PORTAL_XMPP_AUTO_SUBSCRIBE_CAP", default=200)
LEASE_TTL_S = env.float("PORTAL_LEASE_TTL_S", default=30.0 if IS_SQLITE else 6.0)
# When a text of unknown fate is looked up at the carrier, in seconds after the send (R32).
RECHECK_S: list[int] = [int(s) for s in env.list("PORTAL_RECHECK_S", default=["120", "600", "3600", "86400"])]
DISPATCH_IN_FLIGHT = env.int("PORTAL_DISPATCH_IN_FLIGHT", default=64)
CARRIER_TIMEOUT_S = env.float("PORTAL_CARRIER_TIMEOUT_S", default=30.0)
# How long a file that no message has taken is kept.
UNUSED_FILE_HOURS = 24

# --- API ------------------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "portal.api.problems.problem_handler",
    "UNAUTHENTICATED_USER": None,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Partner Portal API",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    # Choices stay where they are used: the names made up for shared ones mean nothing to a reader.
    "POSTPROCESSING_HOOKS": [],
}

CRISPY_ALLOWED_TEMPLATE_PACKS = ["unfold_crispy"]
CRISPY_TEMPLATE_PACK = "unfold_crispy"

# `django.request` has a line for each of these already.
DJANGO_STRUCTLOG_STATUS_4XX_LOG_LEVEL = logging.INFO
DEFAULT_EXCEPTION_REPORTER = "portal.debug_pages.Reporter"
DEFAULT_EXCEPTION_REPORTER_FILTER = "portal.debug_pages.NoSecrets"

from portal.logs import LOGGING  # noqa: E402
from portal.staff_look import UNFOLD  # noqa: E402

__all__ = ["LOGGING", "UNFOLD"]
