"""Addresses of the service."""

from django.contrib import admin
from django.urls import path

from pcf.http.exposition import metrics_view
from pcf.http.health import health, livez, readyz
from pcf.http.views import graphql_view
from pcf.schema import graphql_service

urlpatterns = [
    path("graphql", graphql_view(graphql_service)),
    path("livez", livez),
    path("readyz", readyz),
    path("health", health),
    path("metrics", metrics_view),
    path("admin/", admin.site.urls),
]
