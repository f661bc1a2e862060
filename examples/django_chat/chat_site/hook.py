"""rtchat asks here who a visitor is; docs/configuration.md, [hooks], says what is in the JSON."""

from __future__ import annotations

import hmac
import json
import time
from typing import Any

from django.conf import settings
from django.contrib import auth
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST


@csrf_exempt  # the signature says that it comes from rtchat
@require_POST
def answer(request: HttpRequest) -> HttpResponse:
    """Return who a visitor is, or that there is no such user."""
    if not _is_signed(request):
        return HttpResponse("the signature is wrong", status=400)
    question = json.loads(request.body)
    user = _by_session(question["cookies"].get(settings.SESSION_COOKIE_NAME, ""))
    if user is None:
        user = auth.authenticate(
            request, username=question["username"], password=question["password"]
        )
    if user is None:
        return JsonResponse({"allow": "no", "reason": "not logged in at the site"})
    groups = [group.name for group in user.groups.all()]
    return JsonResponse(
        {
            "user": user.get_username(),
            "nick": user.get_short_name() or user.get_username(),
            "groups": [*groups, "staff"] if user.is_staff else groups,
            "expires": time.time() + settings.CHAT_RECHECK_S,
        }
    )


def _is_signed(request: HttpRequest) -> bool:
    digest = hmac.new(settings.CHAT_HOOK_SECRET, request.body, "sha256").hexdigest()
    given = request.headers.get("X-Rtchat-Signature", "")
    return hmac.compare_digest(given.encode(), f"sha256={digest}".encode())


def _by_session(key: str) -> Any:
    """Return the user who has logged in with a browser, or None."""
    if not key:
        return None
    request = HttpRequest()
    request.session = SessionStore(key)
    # As for a page of the site: the session has not ended, the password is still the same, the
    # user is active.
    user = auth.get_user(request)
    return user if user.is_authenticated else None
