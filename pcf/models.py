"""The engine's models: the permissions of the response cache, and answers to keyed mutations."""

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.utils import timezone


class ResponseCache(models.Model):
    """The response cache in the admin. The model has permissions and no table."""

    class Meta:
        """The permissions to view and to flush the cache."""

        managed = False
        default_permissions = ("view",)
        permissions = [("flush_responsecache", "Can flush the response cache")]
        verbose_name = verbose_name_plural = "response cache"


class IdempotentAnswer(models.Model):
    """The answer to a mutation with an idempotency key (``pcf.http.idempotency``).

    ``digest`` is the SHA-256 of the viewer and the key, ``request`` a digest of the operation and
    its variables, ``body`` the JSON of the answer. ``shows`` names what the answer depends on, as
    the response cache does (``note:7``). So the answers go with the rows that they show.
    """

    digest = models.BinaryField(primary_key=True, max_length=32)
    request = models.BinaryField(max_length=64)
    body = models.BinaryField()
    created_at = models.DateTimeField(default=timezone.now)
    shows = ArrayField(models.TextField(), default=list)

    class Meta:
        """The indexes are for the deletion of old answers, and of those that show a row."""

        default_permissions = ()
        indexes = [
            models.Index(fields=("created_at",), name="pcf_idempotent_created"),
            GinIndex(fields=("shows",), name="pcf_idempotent_shows"),
        ]

    def __str__(self) -> str:
        return bytes(self.digest).hex()
