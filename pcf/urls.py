"""Addresses of the service."""

from django.contrib import admin
from django.urls import path

from pcf.apps import service_maker
from pcf.http.exposition import metrics_view
from pcf.http.health import health, livez, readyz
from pcf.http.views import graphql_view

urlpatterns = [
    path("graphql", graphql_view(service_maker())),
    path("livez", livez),
    path("readyz", readyz),
    path("health", health),
    path("metrics", metrics_view),
    path("admin/", admin.site.urls),
]
