"""The URLs of the engine: the GraphQL endpoint, the probes and the metrics."""

from django.urls import path

from pcf.conf import graphql_path, service_maker
from pcf.http.views import graphql_view
from pcf.server.probes import health, livez, metrics_view, readyz

urlpatterns = [
    path(graphql_path().removeprefix("/"), graphql_view(service_maker())),
    path("livez", livez),
    path("readyz", readyz),
    path("health", health),
    path("metrics", metrics_view),
]
