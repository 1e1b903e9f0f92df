"""The provisioning routes of IM and XMPP (contracts section 6)."""

from __future__ import annotations

from django.urls import path

from xmpp.api import broadworks, gateways, user_import

urlpatterns = [
    path("broadworks/", broadworks.Broadworks.as_view()),
    path("broadworks/<str:pk>/", broadworks.BroadworksItem.as_view()),
    path("broadworks/<str:pk>/test/", broadworks.BroadworksTest.as_view()),
    path("broadworks/<str:pk>/import/", user_import.UserImport.as_view()),
    path("sms-gateways/", gateways.Gateways.as_view()),
    path("sms-gateways/<str:pk>/", gateways.GatewayItem.as_view()),
    path("sms-gateways/<str:pk>/test/", gateways.GatewayTest.as_view()),
    path("users/<str:pk>/generate-imp-password/", broadworks.GenerateImpPassword.as_view()),
]
