"""graphene-django's view on PCF's schema and loaders: promises, no plans, no cache."""

from typing import Any

from django.http import HttpRequest
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from graphene_django.views import GraphQLView

from pcf.execution.context import RequestContext
from pcf.execution.promise_executor import PromiseExecutionContext
from pcf.project.schema import schema


class View(GraphQLView):
    """A view that gives every request fresh loaders."""

    def get_context(self, request: HttpRequest) -> Any:
        del request
        return RequestContext()


urlpatterns = [
    path(
        "graphql",
        csrf_exempt(View.as_view(schema=schema, execution_context_class=PromiseExecutionContext)),
    )
]
