"""Addresses of the service: the engine's, the admin, and the notes application."""

from django.contrib import admin
from django.urls import include, path

from notes.export import export_view
from web.views import page

urlpatterns = [
    path("", include("pcf.urls")),
    path("account/export", export_view),
    path("admin/", admin.site.urls),
    path("", page),
]
