"""Addresses of the service: the engine's, and the admin."""

from django.contrib import admin
from django.urls import include, path

from notes.export import export_view

admin.site.site_url = None  # "View site" needs a page at /

urlpatterns = [
    path("", include("pcf.urls")),
    path("account/export", export_view),
    path("admin/", admin.site.urls),
]
