"""Users and API tokens."""

import hashlib
import secrets
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser
from django.contrib.auth.models import UserManager as DjangoUserManager
from django.db import models
from django.db.models.functions import Length
from django.db.models.lookups import Exact
from django.utils import timezone

from pcf.cache.invalidation import TouchingManager, TouchingQuerySet

DIGEST_BYTES = hashlib.sha256().digest_size


class UserManager(DjangoUserManager.from_queryset(TouchingQuerySet)):  # type: ignore[misc]
    """Django's manager of users, with bulk writes that invalidate what they touch."""

    use_in_migrations = False


class User(AbstractUser):
    """A person: writes notes, may be staff."""

    name = models.CharField(max_length=150)
    email = models.EmailField(blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects: ClassVar[UserManager] = UserManager()

    REQUIRED_FIELDS = ["email", "name"]

    class Meta:
        """Names are never blank, also for writers that bypass forms."""

        base_manager_name = "objects"  # related managers write through it
        ordering = ("id",)
        constraints = [
            models.CheckConstraint(condition=~models.Q(name=""), name="users_user_name_not_empty"),
        ]

    def __str__(self) -> str:
        return self.name or self.username


class ApiToken(models.Model):
    """A bearer token. Only the SHA-256 of its text is stored; the text is shown once."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    digest = models.BinaryField(max_length=DIGEST_BYTES, unique=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = TouchingManager()

    plain_text: str | None = None  # no column: only the instance that was just issued has it

    class Meta:
        """A token has a name and a whole digest."""

        base_manager_name = "objects"  # related managers write through it
        ordering = ("id",)
        verbose_name = "API token"
        constraints = [
            models.CheckConstraint(
                condition=~models.Q(name=""), name="users_apitoken_name_not_empty"
            ),
            models.CheckConstraint(
                condition=Exact(Length("digest"), DIGEST_BYTES),
                name="users_apitoken_digest_length",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @staticmethod
    def digest_of(text: str) -> bytes:
        """The 32 bytes under which a token's text is stored."""
        return hashlib.sha256(text.encode()).digest()

    def renew(self) -> str:
        """Give the token a new random text and return it; the caller saves the token."""
        self.plain_text = secrets.token_urlsafe(32)
        self.digest = self.digest_of(self.plain_text)
        return self.plain_text

    @classmethod
    def issue(cls, user: User, name: str, **fields: Any) -> tuple["ApiToken", str]:
        """Create a token for ``user``; returns it with its plain text, which is not kept."""
        token = cls(user=user, name=name, **fields)
        text = token.renew()
        token.save()
        return token, text
