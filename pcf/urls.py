"""Addresses of the service."""

from django.contrib import admin
from django.urls import path
from django_prometheus.exports import ExportToDjangoView

from pcf.http.health import health, livez, readyz
from pcf.http.views import graphql_view
from pcf.schema import graphql_service

urlpatterns = [
    path("graphql", graphql_view(graphql_service)),
    path("livez", livez),
    path("readyz", readyz),
    path("health", health),
    path("metrics", ExportToDjangoView),
    path("admin/", admin.site.urls),
]
