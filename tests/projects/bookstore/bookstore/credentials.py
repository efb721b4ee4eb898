"""Bearer tokens of the bookstore: a user's id, signed by Django."""

from django.contrib.auth.models import User
from django.core import signing

from pcf.viewer import Credentials, Scope, Viewer

SALT = "bookstore.token"
MAX_AGE = 30 * 24 * 3600  # seconds


def token_for(user: User) -> str:
    """Return a token that stands for ``user``."""
    return signing.dumps(user.pk, salt=SALT)


def find_credentials(text: str) -> Credentials | None:
    """Return the credentials behind a token, None when the token or its user is not valid."""
    try:
        user_id = signing.loads(text, salt=SALT, max_age=MAX_AGE)
    except signing.BadSignature:
        return None
    user = User.objects.filter(pk=user_id, is_active=True).first()
    if user is None:
        return None
    return Credentials(
        viewer=Viewer.from_token(
            user.pk, Scope.ADMIN if user.is_staff else Scope.WRITE, staff=user.is_staff
        ),
        expires_at=None,
        dependencies=(("account", user.pk),),
    )
