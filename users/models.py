"""Users and API tokens."""

from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser
from django.contrib.auth.models import UserManager as DjangoUserManager
from django.contrib.postgres.indexes import GinIndex
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models.functions import Length, Upper
from django.db.models.lookups import Exact
from django.utils import timezone

from pcf.database.fields import folded, time_in_range
from pcf.viewer import Scope
from users.tokens import DIGEST_BYTES, digest_of, new_text

SCOPES = (
    (Scope.READ.value, "read: queries"),
    (Scope.WRITE.value, "write: queries and mutations"),
    (Scope.ADMIN.value, "admin: everything, with the powers of staff"),
)


MAX_DEVICE = 200  # characters of the name of a device
MAX_TOKEN_DAYS = 36_500  # a hundred years; a token without an end never expires


class UserManager(DjangoUserManager["User"]):
    """Django's manager of users; migrations do not contain it."""

    use_in_migrations = False


class User(AbstractUser):
    """A person who writes notes. A member of staff also manages the data of others."""

    name = models.CharField(max_length=150)
    name_folded = folded("name")
    email = models.EmailField(blank=True)
    confirmed_email = models.EmailField(
        null=True,
        blank=True,
        unique=True,
        editable=False,
        help_text="The address that the user has confirmed, in lower case. It is good for log-ins.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    deletion_requested_at = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="When the user asked to delete the account; manage.py purge_accounts does it.",
    )

    objects: ClassVar[UserManager] = UserManager()

    REQUIRED_FIELDS = ["email", "name"]

    class Meta:
        """The constraint also holds for writers that bypass forms.

        The indexes serve lists by time and by name, parts of names, and the search for an address
        without regard to case (``users.accounts``).
        """

        ordering = ("id",)
        indexes = [
            models.Index(fields=("created_at", "id"), name="users_user_created_id"),
            models.Index(fields=("name_folded", "id"), name="users_user_folded_id"),
            models.Index(Upper("email"), name="users_user_email_upper"),
            GinIndex(
                fields=("name_folded",), opclasses=("gin_trgm_ops",), name="users_user_folded_part"
            ),
        ]
        constraints = [
            models.CheckConstraint(condition=~models.Q(name=""), name="users_user_name_not_empty"),
            *(
                time_in_range(field, f"users_user_{field}_range")
                for field in ("created_at", "date_joined", "last_login", "deletion_requested_at")
            ),
        ]

    def __str__(self) -> str:
        return self.name or self.username


class Session(models.Model):
    """A log-in of a user on one device, until it ends: the row is gone then.

    The access tokens of a session are rows of ApiToken. A session with a refresh token is a family
    of refresh tokens (RFC 9700 section 4.14): ``family`` is the digest of what all texts of the
    family share, ``refresh_digest`` that of the only text that is good. A session with a cookie has
    neither.
    """

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="sessions")
    device = models.CharField(max_length=MAX_DEVICE, blank=True)
    scope = models.CharField(max_length=5, choices=SCOPES, default=Scope.WRITE.value)
    family = models.BinaryField(max_length=DIGEST_BYTES, null=True, unique=True, editable=False)
    refresh_digest = models.BinaryField(max_length=DIGEST_BYTES, null=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField()

    class Meta:
        """Digests are complete, and a session has both or none."""

        ordering = ("id",)
        constraints = [
            models.CheckConstraint(
                condition=models.Q(scope__in=[value for value, _ in SCOPES]),
                name="users_session_scope",
            ),
            models.CheckConstraint(
                condition=models.Q(family=None, refresh_digest=None)
                | models.Q(
                    models.Q(family__isnull=False, refresh_digest__isnull=False),
                    Exact(Length("family"), DIGEST_BYTES),
                    Exact(Length("refresh_digest"), DIGEST_BYTES),
                ),
                name="users_session_digests",
            ),
            *(
                time_in_range(field, f"users_session_{field}_range")
                for field in ("created_at", "last_used_at", "expires_at")
            ),
        ]

    def __str__(self) -> str:
        return self.device or f"session {self.pk}"


class TokenQuerySet(models.QuerySet[Any]):
    """A query set of tokens."""

    def valid(self) -> "TokenQuerySet":
        """Return tokens that are neither revoked nor expired; their users may be inactive."""
        return self.filter(revoked_at=None).exclude(expires_at__lte=timezone.now())


class ApiToken(models.Model):
    """A bearer token. The table holds the SHA-256 of its text, which is shown once."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    scope = models.CharField(
        max_length=5,
        choices=SCOPES,
        default=Scope.WRITE.value,
        db_default=Scope.WRITE.value,
        help_text="How much of the user's rights the token passes on.",
    )
    session = models.ForeignKey(
        Session,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        editable=False,
        related_name="tokens",
        help_text="The session that the token belongs to, none for a token of its own.",
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

    plain_text: str | None = None  # no column; only a token that was just issued has it

    class Meta:
        """Every token has a name, a scope and a complete digest."""

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
            *(
                time_in_range(field, f"users_apitoken_{field}_range")
                for field in ("created_at", "last_used_at", "expires_at", "revoked_at")
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Raise ValidationError for a scope beyond the rights of the token's user."""
        if self.scope == Scope.ADMIN and self.user_id and not self.user.is_staff:
            raise ValidationError({"scope": "Only staff have powers that 'admin' could pass on."})

    @staticmethod
    def digest_of(text: str) -> bytes:
        """Return the 32 bytes that the table holds for a token's text."""
        return digest_of(text)

    def renew(self) -> str:
        """Give the token a new random text and return it; the caller saves the token."""
        self.plain_text = new_text()
        self.digest = digest_of(self.plain_text)
        return self.plain_text

    @classmethod
    def issue(cls, user: User, name: str, **fields: Any) -> tuple["ApiToken", str]:
        """Create a token for ``user``; return the token and its text, which is not stored."""
        token = cls(user=user, name=name, **fields)
        text = token.renew()
        token.save()
        return token, text

    def rotate(self, *, overlap: timedelta, expires_at: datetime | None) -> tuple["ApiToken", str]:
        """Replace this token; return the new token and its text.

        The new token has the same user, name and scope. It expires at ``expires_at``, or never for
        None. The old token works for another ``overlap``. Raises ValueError when the old token is
        revoked, expired or replaced.
        """
        now = timezone.now()
        with transaction.atomic():
            old = ApiToken.objects.select_for_update().get(pk=self.pk)
            expired = old.expires_at is not None and old.expires_at <= now
            if expired or old.revoked_at is not None or old.replaced_by_id is not None:
                raise ValueError("the token is already revoked, expired or replaced")
            new, text = ApiToken.issue(old.user, old.name, scope=old.scope, expires_at=expires_at)
            old.replaced_by = new
            if not overlap:
                old.revoked_at = now
            elif old.expires_at is None or old.expires_at > now + overlap:
                old.expires_at = now + overlap
            old.save(update_fields=["replaced_by", "revoked_at", "expires_at"])
        return new, text
