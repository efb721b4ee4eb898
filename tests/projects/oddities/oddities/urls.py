"""Addresses: those of the engine, and the admin."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [path("", include("pcf.urls")), path("admin/", admin.site.urls)]
