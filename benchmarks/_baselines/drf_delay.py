"""Baseline: the textbook way. DRF serializer, ORM create, one Celery task per message."""

from __future__ import annotations

import os
from typing import Any

import environ
from celery import Celery
from django.conf import settings

if not settings.configured:
    settings.configure(
        DATABASES={"default": environ.Env().db("DATABASE_URL") | {"CONN_MAX_AGE": None}},
        SECRET_KEY="benchmark",
        ROOT_URLCONF="benchmarks._baselines.drf_delay",
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "rest_framework"],
        ALLOWED_HOSTS=["*"],
        USE_TZ=True,
    )

import django

django.setup()

from django.core.wsgi import get_wsgi_application
from django.db import models
from django.urls import re_path
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

celery = Celery("bench", broker=os.environ["REDIS_URL"])
celery.conf.task_ignore_result = True


@celery.task(name="bench.deliver")
def deliver(message_id: int) -> None:
    """Never run: only queueing is measured."""


class BenchMessage(models.Model):
    sid = models.TextField()
    sender = models.TextField()
    recipient = models.TextField()
    text = models.TextField()

    class Meta:
        app_label = "bench"
        db_table = "bench_message"
        managed = False

    def __str__(self) -> str:
        return self.sid


class Incoming(serializers.Serializer[Any]):
    referenceId = serializers.CharField()  # noqa: N815 - the carrier's name
    to = serializers.ListField(child=serializers.CharField())
    text = serializers.CharField()


class Take(APIView):
    authentication_classes: tuple[()] = ()
    permission_classes: tuple[()] = ()

    def post(self, request: Request) -> Response:
        incoming = Incoming(data=request.data)
        incoming.is_valid(raise_exception=True)
        row = BenchMessage.objects.create(
            sid=incoming.validated_data["referenceId"],
            sender=request.data["from"],
            recipient=incoming.validated_data["to"][0],
            text=incoming.validated_data["text"],
        )
        deliver.delay(row.pk)
        return Response({"status": "success"})


urlpatterns = [re_path("", Take.as_view())]
application = get_wsgi_application()
