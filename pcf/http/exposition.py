"""/metrics: what Prometheus scrapes."""

import prometheus_client
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from django_prometheus.exports import ExportToDjangoView

from pcf import processes
from pcf.http.health import ProbeAnswer


def exposition() -> ProbeAnswer:
    """Return the metrics of all processes together, then what each process uses.

    django-prometheus adds up the workers; its own metrics by view and path are not installed, the
    engine's say more and cost less.
    """
    response: HttpResponse = ExportToDjangoView(HttpRequest())
    registry = prometheus_client.CollectorRegistry()
    processes.register(registry)
    body = response.content + prometheus_client.generate_latest(registry)
    return ProbeAnswer(200, response["Content-Type"], body)


@require_safe
def metrics_view(_request: HttpRequest) -> HttpResponse:
    """See ``exposition``."""
    probe = exposition()
    return HttpResponse(probe.body, content_type=probe.content_type)
