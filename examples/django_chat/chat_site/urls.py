"""The addresses of the site."""

from __future__ import annotations

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from . import hook, views

urlpatterns = [
    path("", views.page),
    path("login/", LoginView.as_view()),
    path("logout/", LogoutView.as_view()),
    path("chat/hook", hook.answer),
]
