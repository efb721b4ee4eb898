"""What the engine has in Django's tables: permissions, nothing else."""

from django.db import models


class ResponseCache(models.Model):
    """No table: the response cache as the admin knows it, with who may look at it and flush it."""

    class Meta:
        """Permissions alone."""

        managed = False
        default_permissions = ("view",)
        permissions = [("flush_responsecache", "Can flush the response cache")]
        verbose_name = verbose_name_plural = "response cache"
