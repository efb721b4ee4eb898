"""/metrics: what Prometheus scrapes."""

import prometheus_client
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from django_prometheus.exports import ExportToDjangoView

from pcf import processes


@require_safe
def metrics_view(request: HttpRequest) -> HttpResponse:
    """The metrics of all processes together, then what each process uses.

    django-prometheus adds up the workers; its own metrics by view and path are not installed, the
    engine's say more and cost less.
    """
    response: HttpResponse = ExportToDjangoView(request)
    registry = prometheus_client.CollectorRegistry()
    processes.register(registry)
    response.content += prometheus_client.generate_latest(registry)
    return response
