"""Users and API tokens."""

from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser
from django.contrib.auth.models import UserManager as DjangoUserManager
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models.functions import Length
from django.db.models.lookups import Exact
from django.utils import timezone

from pcf.viewer import Scope
from users.tokens import DIGEST_BYTES, digest_of, new_text

SCOPES = (
    (Scope.READ.value, "read: queries"),
    (Scope.WRITE.value, "write: queries and mutations"),
    (Scope.ADMIN.value, "admin: everything, with the powers of staff"),
)


class UserManager(DjangoUserManager["User"]):
    """Django's manager of users, kept out of migrations."""

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

        ordering = ("id",)
        constraints = [
            models.CheckConstraint(condition=~models.Q(name=""), name="users_user_name_not_empty"),
        ]

    def __str__(self) -> str:
        return self.name or self.username


class TokenQuerySet(models.QuerySet[Any]):
    """Tokens, some of which still work."""

    def valid(self) -> "TokenQuerySet":
        """Those that are neither revoked nor expired; their users may not be active."""
        return self.filter(revoked_at=None).exclude(expires_at__lte=timezone.now())


class ApiToken(models.Model):
    """A bearer token. Only the SHA-256 of its text is stored; the text is shown once."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    scope = models.CharField(
        max_length=5,
        choices=SCOPES,
        default=Scope.WRITE.value,
        db_default=Scope.WRITE.value,
        help_text="How much of the user's rights the token passes on.",
    )
    digest = models.BinaryField(max_length=DIGEST_BYTES, unique=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    replaced_by = models.ForeignKey(
        "self",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="replaces",
        help_text="The token that a rotation made instead of this one.",
    )

    objects = models.Manager.from_queryset(TokenQuerySet)()

    plain_text: str | None = None  # no column: only the instance that was just issued has it

    class Meta:
        """A token has a name, a scope and a whole digest."""

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
            models.CheckConstraint(
                condition=models.Q(scope__in=[value for value, _ in SCOPES]),
                name="users_apitoken_scope",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Raises ValidationError for powers that the token's user does not have."""
        if self.scope == Scope.ADMIN and self.user_id and not self.user.is_staff:
            raise ValidationError({"scope": "Only staff have powers that 'admin' could pass on."})

    @staticmethod
    def digest_of(text: str) -> bytes:
        """The 32 bytes under which a token's text is stored."""
        return digest_of(text)

    def renew(self) -> str:
        """Give the token a new random text and return it; the caller saves the token."""
        self.plain_text = new_text()
        self.digest = digest_of(self.plain_text)
        return self.plain_text

    @classmethod
    def issue(cls, user: User, name: str, **fields: Any) -> tuple["ApiToken", str]:
        """Create a token for ``user``; returns it with its plain text, which is not kept."""
        token = cls(user=user, name=name, **fields)
        text = token.renew()
        token.save()
        return token, text

    def rotate(self, *, overlap: timedelta, expires_at: datetime | None) -> tuple["ApiToken", str]:
        """Issue a token instead of this one, which works for ``overlap`` yet, or no longer.

        The new one has the same user, name and scope, and works until ``expires_at`` (None: until
        revoked). Returns it with its plain text. Raises ValueError when this one is revoked,
        expired or replaced already.
        """
        now = timezone.now()
        with transaction.atomic():
            old = ApiToken.objects.select_for_update().get(pk=self.pk)
            expired = old.expires_at is not None and old.expires_at <= now
            if expired or old.revoked_at is not None or old.replaced_by_id is not None:
                raise ValueError("the token is revoked, expired or replaced already")
            new, text = ApiToken.issue(old.user, old.name, scope=old.scope, expires_at=expires_at)
            old.replaced_by = new
            if not overlap:
                old.revoked_at = now
            elif old.expires_at is None or old.expires_at > now + overlap:
                old.expires_at = now + overlap
            old.save(update_fields=["replaced_by", "revoked_at", "expires_at"])
        return new, text
