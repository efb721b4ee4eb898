"""The engine's model without a table, which gives Django the engine's permissions."""

from django.db import models


class ResponseCache(models.Model):
    """The response cache in the admin. The model has permissions and no table."""

    class Meta:
        """The permissions to view and to flush the cache."""

        managed = False
        default_permissions = ("view",)
        permissions = [("flush_responsecache", "Can flush the response cache")]
        verbose_name = verbose_name_plural = "response cache"
