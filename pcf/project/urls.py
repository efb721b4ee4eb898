"""Addresses of the service: the engine's, and the admin."""

from django.contrib import admin
from django.urls import include, path

admin.site.site_url = None  # "View site" needs a page at /

urlpatterns = [
    path("", include("pcf.urls")),
    path("admin/", admin.site.urls),
]
