"""
All settings, from the environment.

`manage.py init` writes the secrets of a real installation to the file that KEYFARE_ENV_FILE names
(default `var/keyfare.env`, ignored by git); real environment variables win over it.
"""

from pathlib import Path

from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from django.urls import reverse_lazy

from config.environment import (
    Environment,
    database_of,
    host_of,
    hosts_of,
    mail_of,
    names_of,
    origins_of,
    site_of,
    token_of,
)

BASE_DIR = Path(__file__).resolve().parent.parent
env = Environment()
ENV_FILE = Path(env.str("KEYFARE_ENV_FILE", default=str(BASE_DIR / "var" / "keyfare.env")))
if ENV_FILE.is_file():
    env.read_file(ENV_FILE)

# For developers of Keyfare. It shows Django's pages about errors, and opens no door.
DEBUG = env.bool("DEBUG", default=False)
# What `make demo` sets for itself: simulated keys to paste, e-mail addresses that nobody has to verify, and a staff
# admin without a second step. Nothing starts with it unless SITE_URL is on this computer.
KEYFARE_DEMO = env.bool("KEYFARE_DEMO", default=False)
SECRET_KEY = env.str("SECRET_KEY", default="")
# Where people find this installation; every link in a mail begins with it. In one form: no slash behind it, lower case.
SITE_URL = env.read("SITE_URL", site_of, default="http://localhost:8000")
ALLOWED_HOSTS = [*env.read("ALLOWED_HOSTS", hosts_of, default=["localhost", "127.0.0.1", "[::1]"]), host_of(SITE_URL)]
CSRF_TRUSTED_ORIGINS = [*env.read("CSRF_TRUSTED_ORIGINS", origins_of, default=[]), SITE_URL]

# Keyfare itself -------------------------------------------------------------------------------------

# Master keys: the first wraps, all unwrap. Read by fernet_fields; never in the database.
FERNET_KEYS = env.list("KEYFARE_MASTER_KEYS", default=[])
# Keys the digests by which people are matched across organizations for recency. Not rotated with the others:
# a new one forgets who was checked when.
KEYFARE_DIGEST_KEY = env.str("KEYFARE_DIGEST_KEY", default="")
# "openai=http://127.0.0.1:9001/v1,…": sends a built-in provider's traffic elsewhere, for demo and tests.
KEYFARE_PROVIDER_ORIGINS = env.dict("KEYFARE_PROVIDER_ORIGINS", default={})
# Ports of servers that organizations name by their base URL; 8443 is a common second one.
KEYFARE_CUSTOM_SERVER_PORTS = env.list("KEYFARE_CUSTOM_SERVER_PORTS", cast=int, default=[443])
# "http://proxy:3128": the way out for calls to the built-in providers, where a network has no other.
KEYFARE_EGRESS_PROXY = env.str("KEYFARE_EGRESS_PROXY", default="")
KEYFARE_SIGNUP_OPEN = env.bool("KEYFARE_SIGNUP_OPEN", default=False)
KEYFARE_TRIAL_CREDITS = env.int("KEYFARE_TRIAL_CREDITS", default=50)
KEYFARE_SHOW_MANAGED_USD = env.bool("KEYFARE_SHOW_MANAGED_USD", default=False)
# Organizations may join a network in which checks by one make a person recent for all (docs/security.md).
KEYFARE_NETWORK_RECENCY = env.bool("KEYFARE_NETWORK_RECENCY", default=False)
# How many runs of a free action one organization may start a day on managed keys.
KEYFARE_MANAGED_DAILY_RUNS = env.int("KEYFARE_MANAGED_DAILY_RUNS", default=50)
# How many Managed checks of one organization may fail a day after the model had answered.
KEYFARE_MANAGED_DAILY_FAILURES = env.int("KEYFARE_MANAGED_DAILY_FAILURES", default=50)
# After this many days a key's age is pointed out, and again after as many more. 0: never.
KEYFARE_KEY_ROTATION_DAYS = env.int("KEYFARE_KEY_ROTATION_DAYS", default=180)
KEYFARE_CALL_TIMEOUT_SECONDS = env.int("KEYFARE_CALL_TIMEOUT_SECONDS", default=90)
# A worker that has not renewed the lease of a check for this long is taken for dead; another one takes the check over.
KEYFARE_CHECK_LEASE_SECONDS = env.int("KEYFARE_CHECK_LEASE_SECONDS", default=300)
KEYFARE_CHECKS_IN_FLIGHT = env.int("KEYFARE_CHECKS_IN_FLIGHT", default=64)
# Of calls through the gateway: the whole of one, and the longest silence in a stream.
KEYFARE_GATEWAY_TIMEOUT_SECONDS = env.int("KEYFARE_GATEWAY_TIMEOUT_SECONDS", default=600)
KEYFARE_GATEWAY_IDLE_SECONDS = env.int("KEYFARE_GATEWAY_IDLE_SECONDS", default=120)
# How many are under way at once in one process: of a token that has no bound of its own, and of all together.
KEYFARE_GATEWAY_CALLS_AT_ONCE = env.int("KEYFARE_GATEWAY_CALLS_AT_ONCE", default=64)
KEYFARE_GATEWAY_MOST_CALLS = env.int("KEYFARE_GATEWAY_MOST_CALLS", default=1000)
# How long a worker that is told to stop lets calls under way finish.
KEYFARE_STOP_GRACE_SECONDS = env.float("KEYFARE_STOP_GRACE_SECONDS", default=60)
# How often the worker shows that tasks get through it; after how long a silence it is killed and started anew; and
# after how long work counts as stopped for everybody else.
KEYFARE_WORKER_PROBE_SECONDS = env.float("KEYFARE_WORKER_PROBE_SECONDS", default=15)
KEYFARE_WORKER_SILENCE_SECONDS = env.float("KEYFARE_WORKER_SILENCE_SECONDS", default=55)
KEYFARE_WORK_LATE_SECONDS = env.float("KEYFARE_WORK_LATE_SECONDS", default=90)
# What `manage.py backup` dumps PostgreSQL with; at least as new as the server.
KEYFARE_PG_DUMP = env.str("KEYFARE_PG_DUMP", default="pg_dump")
# The most connections to PostgreSQL that one web process opens, and with them how many requests it answers at once.
# 0: no pool, each request opens its own.
KEYFARE_WEB_CONNECTIONS = env.int("KEYFARE_WEB_CONNECTIONS", default=16)
# Who may read /metrics, as a Bearer token. Without it there is no such page.
KEYFARE_METRICS_TOKEN = env.read("KEYFARE_METRICS_TOKEN", token_of, default="")
# A sentence shown on top of every page (the demo says there that results are simulated).
KEYFARE_BANNER = env.str("KEYFARE_BANNER", default="")

# Django ---------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "csp",
    "django_htmx",
    "template_partials",
    "organizations",
    "usage",
    "billing",
    "providers",
    "routing",
    "gateway",
    "candidates",
    "config",
    "django_q",  # after config, whose `qcluster` looks at the master keys first
]

MIDDLEWARE = [
    "config.health.HealthChecks",
    "config.https.NoRedirectToItself",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "config.compression.CompressedPages",
    "config.headers.PageHeaders",
    "csp.middleware.CSPMiddleware",
    "config.sessions.SessionsByForm",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "organizations.tenancy.TenancyMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "config.admin.csp.AdminContentSecurityPolicy",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
WSGI_APPLICATION = "config.wsgi.application"

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
                "config.context.page",
            ],
            "builtins": ["template_partials.templatetags.partials", "config.templatetags.icons"],
        },
    },
]
FORM_RENDERER = "config.form_renderer.QuickRenderer"

SQLITE = {"ENGINE": "django.db.backends.sqlite3", "NAME": ENV_FILE.parent / "keyfare.sqlite3"}
DATABASES = {"default": env.read("DATABASE_URL", database_of, default=SQLITE)}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        # IMMEDIATE: a transaction that reads first and writes later never fails with "database is locked".
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA secure_delete=ON;",
    }
else:
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
    # A server that is gone without a word (its machine, the network) is an error within half a minute.
    DATABASES["default"]["OPTIONS"] = {
        "connect_timeout": 5,
        "keepalives_idle": 15,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
        **DATABASES["default"].get("OPTIONS", {}),
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "organizations.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
LOGIN_URL = reverse_lazy("account_login")
LOGIN_REDIRECT_URL = reverse_lazy("home")
ACCOUNT_ADAPTER = "config.accounts.AccountAdapter"
ACCOUNT_FORMS = {
    "signup": "config.accounts.SignupForm",
    "change_password": "config.passwords.ChangePasswordForm",
    "set_password": "config.passwords.SetPasswordForm",
    "user_token": "config.passwords.UserTokenForm",
}
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "none" if KEYFARE_DEMO else "mandatory"
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_LOGOUT_REDIRECT_URL = reverse_lazy("account_login")
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_EMAIL_NOTIFICATIONS = True  # people hear of what changes in their account, the old address of a new one
ACCOUNT_RATE_LIMITS = {"login_failed_known": "10/5m/key"}  # beside allauth's own; see config/known_browsers.py
ACCOUNT_REAUTHENTICATION_TIMEOUT = 15 * 60
MFA_ADAPTER = "config.accounts.MFAAdapter"
MFA_FORMS = {
    "activate_totp": "config.accounts.ActivateTOTPForm",
    "add_webauthn": "config.passkeys.AddPasskeyForm",
    "authenticate_webauthn": "config.passkeys.AuthenticatePasskeyForm",
    "login_webauthn": "config.passkeys.LoginPasskeyForm",
    "reauthenticate_webauthn": "config.passkeys.ReauthenticatePasskeyForm",
}
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_ISSUER = "Keyfare"
MFA_TOTP_PERIOD = 30
MFA_TOTP_TOLERANCE = 1  # the code before and the one after are accepted, each once: config/one_time_codes.py
MFA_ALLOW_UNVERIFIED_EMAIL = KEYFARE_DEMO  # where no address is ever verified
# How many proxies in front append to X-Forwarded-For; with none, the header is not believed. Limits of logins count
# by address.
ALLAUTH_TRUSTED_PROXY_COUNT = env.int("KEYFARE_TRUSTED_PROXIES", default=0)

# Mails are stored, then sent in the background (organizations/outbox) through MAIL_TRANSPORT; empty: they wait for one.
EMAIL_BACKEND = "organizations.outbox.backend.OutboxBackend"
_email = env.read("EMAIL_URL", mail_of, default={})
if KEYFARE_DEMO:  # kept beside its database, whoever they are to
    _email = {
        "EMAIL_BACKEND": "django.core.mail.backends.filebased.EmailBackend",
        "EMAIL_FILE_PATH": str(ENV_FILE.parent / "mail"),
    }
MAIL_TRANSPORT = str(_email.pop("EMAIL_BACKEND", ""))
vars().update(_email)
# For each step of talking to the mail server; a whole mail gets three times as long.
EMAIL_TIMEOUT = env.int("EMAIL_TIMEOUT", default=10)
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="Keyfare <keyfare@localhost>")
# Who is mailed when something crashes.
ADMINS = [(address, address) for address in env.read("ADMINS", names_of, default=[])]

CACHES = {
    "default": {"BACKEND": "config.cache.CountingCache", "LOCATION": "django_cache"},
}

Q_CLUSTER = {
    "name": "keyfare",
    "orm": "default",
    "broker_class": "config.worker.broker.Broker",
    "workers": env.int("KEYFARE_WORKERS", default=8),
    # One task at a time a worker and none waiting in memory: the broker hands out what a worker is free for.
    "queue_limit": 1,
    "bulk": 1,
    "timeout": 600,
    "retry": 900,
    "max_attempts": 3,
    "ack_failures": False,
    "catch_up": False,
    "poll": env.float("KEYFARE_TASK_POLL_SECONDS", default=0.5),
    "save_limit": 250,
    "sync": env.bool("KEYFARE_TASKS_INLINE", default=False),
    "label": "Background tasks",
}

# A pasted list of profiles; uploaded files are not counted here.
DATA_UPLOAD_MAX_MEMORY_SIZE = 10 * 1024 * 1024

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = False  # nothing is translated
USE_TZ = True
USE_THOUSAND_SEPARATOR = True
FORMAT_MODULE_PATH = "config.formats"

STATIC_URL = "/static/"
STATIC_ROOT = None if KEYFARE_DEMO else BASE_DIR / "staticfiles"
STATICFILES_DIRS = [BASE_DIR / "static"]
# Files as they lie in the source tree, where nobody runs collectstatic.
WHITENOISE_USE_FINDERS = DEBUG or KEYFARE_DEMO
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if WHITENOISE_USE_FINDERS
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}

# Security -------------------------------------------------------------------------------------------

HTTPS = SITE_URL.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
# Pages send the token in a header or a field that the server wrote; no script reads the cookie.
CSRF_COOKIE_HTTPONLY = True
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
SECURE_REDIRECT_EXEMPT = ["^static/"]  # nothing private, and the page that says why there is no https has its style
if env.bool("BEHIND_TLS_PROXY", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
CSRF_FAILURE_VIEW = "config.error_pages.form_refused"
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    },
}
# Unfold's admin runs on Alpine (eval) and sets theme colours in line; staff only, see config/admin/csp.py.
ADMIN_SCRIPT_SOURCES = [SELF, UNSAFE_EVAL]
ADMIN_STYLE_SOURCES = [SELF, UNSAFE_INLINE]

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "filters": {
        "redact": {"()": "config.redaction.RedactingFilter"},
        "not_under_debug": {"()": "django.utils.log.RequireDebugFalse"},
    },
    # Each handler redacts, and no logger has one of its own (uvicorn and django would).
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["redact"]},
        "mail_admins": {
            "class": "config.crash_mails.FewCrashMails",
            "email_backend": "organizations.outbox.at_once.AtOnceBackend",
            "level": "ERROR",
            "filters": ["not_under_debug", "redact"],
        },
    },
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {
        "django": {"handlers": ["mail_admins"], "level": "INFO"},
        "django.request": {"level": "ERROR"},  # every 404 and every form with a mistake is no warning
        "django.server": {"handlers": [], "propagate": True},
        "uvicorn": {"handlers": [], "propagate": True, "level": "WARNING" if KEYFARE_DEMO else "INFO"},
        "uvicorn.access": {"handlers": [], "propagate": True},
        # httpx and aiohttp write whole URLs at INFO.
        "httpx": {"level": "WARNING"},
        "aiohttp": {"level": "WARNING"},
        "django-q": {"level": "WARNING"},
        "psycopg.pool": {"level": "WARNING"},
    },
}
DEFAULT_EXCEPTION_REPORTER = "config.error_report.RedactedReport"
DEFAULT_EXCEPTION_REPORTER_FILTER = "config.error_report.HideValues"

UNFOLD = {
    "SITE_TITLE": "Keyfare staff",
    "SITE_HEADER": "Keyfare staff",
    "SITE_SYMBOL": "key",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "config.admin.sidebar.icon_url"}],
    "SCRIPTS": ["config.admin.sidebar.script_url"],
    "STYLES": ["config.admin.sidebar.style_url"],
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": True,
    "BORDER_RADIUS": "7px",
    "COLORS": {
        # The accent of the organizations' pages, from light to dark.
        "primary": {
            "50": "#f4f4ff",
            "100": "#eaeafe",
            "200": "#d8d7fd",
            "300": "#bab7fb",
            "400": "#938df6",
            "500": "#6d63ee",
            "600": "#4f46e5",
            "700": "#4338ca",
            "800": "#3730a3",
            "900": "#312e81",
            "950": "#1e1b4b",
        },
    },
    "DASHBOARD_CALLBACK": "config.admin.dashboard.dashboard",
    "SIDEBAR": {"show_search": True, "navigation": "config.admin.sidebar.navigation"},
}

# Written by the demo for itself.
DEMO_PASSWORD = env.str("DEMO_PASSWORD", default="")
DEMO_SIMULATOR_PORT = env.int("DEMO_SIMULATOR_PORT", default=9001)
