"""Settings of the site; those at the end are about the chat.

The environment names what differs from one machine to another: ``SITE_DATA`` (the folder of the
database and the secrets), ``CHAT_URL`` and ``CHAT_RECHECK_S``.
"""

from __future__ import annotations

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("SITE_DATA", BASE_DIR))

SECRET_KEY = (DATA / "site.secret").read_text(encoding="ascii").strip()
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
ROOT_URLCONF = "chat_site.urls"
WSGI_APPLICATION = None
USE_TZ = True

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [Path(__file__).resolve().parent / "templates"],
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
            ]
        },
    }
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DATA / "db.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LOGIN_URL = "/login/"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/login/"

# Where browsers find the chat. Its host name is that of this site, or one within
# SESSION_COOKIE_DOMAIN: then browsers show this site's session cookie to the chat, too.
CHAT_URL = os.environ.get("CHAT_URL", "http://localhost:9000")
# rtchat signs its questions with it.
CHAT_HOOK_SECRET = (DATA / "hook.secret").read_bytes().strip()
# After how many seconds rtchat asks again: then a log-out on this site ends the chat as well.
CHAT_RECHECK_S = float(os.environ.get("CHAT_RECHECK_S", "300"))
