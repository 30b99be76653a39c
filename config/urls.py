"""The HTTP side: pages, admin, API, probes. Names are CONTRACT.md's; API paths work with and
without the final slash.
"""

from __future__ import annotations

from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path, re_path
from django.views.generic import RedirectView

from config import drf, schema
from realtime import health, views, welcome
from sessions_app.admin import publish
from sessions_app.urls import edge_patterns

handler400 = "config.drf.bad_request"
handler403 = "config.drf.permission_denied"
handler404 = "config.drf.not_found"
handler500 = "config.drf.server_error"

admin.site.site_header = admin.site.site_title = "Trunkline"

urlpatterns = [
    path("", views.console, name="console"),
    re_path(r"^pair/?$", views.pairing, name="pairing"),
    re_path(r"^sessions/?$", views.sessions, name="sessions"),
    re_path(r"^topics/?$", views.topics, name="topics"),
    re_path(r"^groups/?$", views.groups, name="groups"),
    path("favicon.ico", RedirectView.as_view(url=static("realtime/icon.svg"))),
    path("admin", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/welcome/", admin.site.admin_view(welcome.page), name="welcome"),
    path("admin/publish/", admin.site.admin_view(publish.page), name="publish"),
    path("admin/", admin.site.urls),
    path("api/", include("accounts.urls")),
    path("api/", include("sessions_app.urls")),
    path("edge/", include(edge_patterns)),
    path("v1/", include("sessions_app.urls_v1")),
    re_path(r"^api/schema/?$", schema.Document.as_view(), name="schema"),
    re_path(r"^api/docs/?$", schema.Page.as_view(url_name="schema"), name="api-docs"),
    re_path(r"^healthz/?$", health.alive),
    re_path(r"^readyz/?$", health.ready),
    re_path(r"^metrics/?$", health.metrics),
    re_path(r"^health/?$", health.protocol),
    re_path(r"^(?:api|v1|edge)(?:/[\s\S]*)?\Z", drf.nothing),  # last: whatever is left
]
