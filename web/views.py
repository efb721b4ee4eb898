"""The page of the notes application."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe


@require_safe
@cache_control(no_cache=True)
def page(request: HttpRequest) -> HttpResponse:
    """Return the page, which is the same for everybody: its script asks the API who reads."""
    return render(request, "web/index.html")
