"""The pages of the site."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


@login_required
def page(request: HttpRequest) -> HttpResponse:
    """Return the page with the chat, for those who have logged in."""
    return render(request, "page.html", {"chat": settings.CHAT_URL})
