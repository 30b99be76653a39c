"""Paths below `/api/` and, for agents, below `/edge/`; each with and without the final slash."""

from __future__ import annotations

from django.urls import re_path

from sessions_app import api, commands_api, edge_api, groups_api, media_api, topics_api

urlpatterns = [
    re_path(r"^connections/?$", api.ConnectionList.as_view()),
    re_path(r"^presence/?$", api.MemberList.as_view()),
    re_path(r"^media/upload/?$", media_api.UploadView.as_view()),
    re_path(
        r"^connections/(?P<connection>[^/\x00]+)/disconnect/?$", api.ConnectionDisconnect.as_view()
    ),
    re_path(r"^connections/(?P<connection>[^/\x00]+)/message/?$", api.ConnectionMessage.as_view()),
    # Ids of groups and clients are free text: a slash in one comes percent-encoded.
    re_path(r"^groups/(?P<group_id>[\s\S]+)/messages/?\Z", groups_api.GroupMessages.as_view()),
    re_path(r"^clients/(?P<client_id>[\s\S]+)/messages/?\Z", groups_api.ClientMessages.as_view()),
    re_path(r"^edge/commands/?$", commands_api.CommandsView.as_view()),
    re_path(r"^edge/commands/(?P<command_id>[^/\x00]+)/?$", commands_api.CommandView.as_view()),
    re_path(
        r"^edge/commands/(?P<command_id>[^/\x00]+)/cancel/?$", commands_api.CancelView.as_view()
    ),
    re_path(r"^edge/commands/(?P<command_id>[^/\x00]+)/retry/?$", commands_api.RetryView.as_view()),
    re_path(r"^edge/agents/?$", commands_api.AgentsView.as_view()),
    # A topic's name may have slashes in it.
    re_path(r"^topics/(?P<channel>[^\x00]+?)/publish/?$", topics_api.PublishView.as_view()),
]

edge_patterns = [
    re_path(r"^register/?$", edge_api.RegisterView.as_view()),
    re_path(r"^sync/?$", edge_api.SyncView.as_view()),
    re_path(r"^command/ack/?$", edge_api.AckView.as_view()),
    re_path(r"^ack_command/?$", edge_api.AckView.as_view(schema=None)),  # its older name
    re_path(r"^message/?$", edge_api.MessageView.as_view()),
]
