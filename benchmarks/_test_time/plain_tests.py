"""Baseline: the same steps as portal_tests.py with Django's own users and admin, and DRF's tokens."""

from __future__ import annotations

import os

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client
from django.urls import path
from rest_framework.authtoken.views import obtain_auth_token
from rest_framework.decorators import api_view, permission_classes
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIClient

PASSWORD = "correct horse battery"


@api_view(["GET"])
@permission_classes([IsAuthenticated])
def session(request: Request) -> Response:
    return Response({"username": request.user.get_username()})


urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/login/", obtain_auth_token),
    path("api/session/", session),
]


@pytest.mark.django_db
@pytest.mark.parametrize("n", range(int(os.environ["BENCH_TESTS"])))
def test_one(n: int) -> None:
    operator = User.objects.create_superuser("operator", password=PASSWORD)
    user = User.objects.create_user("user", password=PASSWORD)
    answer = APIClient().post("/api/login/", {"username": "user", "password": PASSWORD})
    assert answer.status_code == 200
    api = APIClient()
    api.credentials(HTTP_AUTHORIZATION=f"Token {answer.json()['token']}")
    assert api.get("/api/session/").json()["username"] == user.username
    browser = Client()
    browser.force_login(operator)
    assert user.username in browser.get("/admin/auth/user/").content.decode()
