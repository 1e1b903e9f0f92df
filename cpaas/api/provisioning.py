"""The provisioning routes of messaging (contracts section 2)."""

from __future__ import annotations

from django.urls import path

from cpaas.api import charges, imports, media_streams, message_log, numbers, platforms, stops, tickets

urlpatterns = [
    path("platforms/", platforms.Platforms.as_view()),
    path("platforms/<str:pk>/", platforms.PlatformItem.as_view()),
    path("platforms/<str:pk>/test/", platforms.PlatformTest.as_view()),
    path("platform-choices/", platforms.PlatformChoices.as_view()),
    path("media-streams/", media_streams.MediaStreams.as_view()),
    path("media-streams/<str:pk>/", media_streams.MediaStreamItem.as_view()),
    path("numbers/", numbers.Numbers.as_view()),
    path("numbers/import/", imports.NumberImports.as_view()),
    path("imports/", imports.Imports.as_view()),
    path("imports/<str:pk>/", imports.ImportItem.as_view()),
    path("imports/<str:pk>/lines/", imports.ImportLines.as_view()),
    path("numbers/<str:pk>/", numbers.NumberItem.as_view()),
    path("numbers/<str:pk>/reset-opt-in/", numbers.ResetOptIn.as_view()),
    path("numbers/<str:pk>/delete-messages/", numbers.DeleteMessages.as_view()),
    path("numbers/<str:pk>/retry/", numbers.Retry.as_view()),
    path("numbers/<str:pk>/check/", numbers.Check.as_view()),
    path("numbers/<str:pk>/transfer/", numbers.Transfer.as_view()),
    path("numbers/<str:pk>/opt-in-history/", numbers.NumberHistory.as_view()),
    path("charges/", charges.Charges.as_view()),
    path("opt-in-history/", numbers.History.as_view()),
    path("message-log/", message_log.MessageLog.as_view()),
    path("message-log/<str:pk>/", message_log.MessageLogItem.as_view()),
    path("message-log/<str:pk>/advice/", message_log.MessageAdvice.as_view()),
    path("tickets/", tickets.Tickets.as_view()),
    path("tickets/<str:pk>/", tickets.TicketItem.as_view()),
    path("tickets/<str:pk>/notes/", tickets.TicketNotes.as_view()),
    path("dead-letters/", tickets.DeadLetters.as_view()),
    path("dead-letters/<str:pk>/replay/", tickets.Replay.as_view()),
    path("stops/", stops.Stops.as_view()),
]
