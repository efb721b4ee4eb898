"""The engine's models: the permissions of the response cache, and answers to keyed mutations."""

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
    its variables, ``body`` the JSON of the answer.
    """

    digest = models.BinaryField(primary_key=True, max_length=32)
    request = models.BinaryField(max_length=64)
    body = models.BinaryField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        """The command that deletes old answers reads the index."""

        default_permissions = ()
        indexes = [models.Index(fields=("created_at",), name="pcf_idempotent_created")]

    def __str__(self) -> str:
        return bytes(self.digest).hex()
