"""The texts of API tokens and of refresh tokens: their form, their checksum, their digest.

A text consists of ``pcf_``, 43 random characters of ``0-9A-Za-z`` (256 bits), and 6 characters with
the CRC-32 of those 43 in base 62. Scanners for secrets recognise a leaked text by its prefix and
checksum, without false alarms. The service refuses a text with a wrong checksum without SQL.

A refresh token has the prefix ``pcfr_``. The first 22 of its random characters (130 bits) are those
of its family: all refresh tokens of one session begin with them.
"""

import hashlib
import re
import secrets
import string
import zlib

PREFIX = "pcf_"
SECRET_LENGTH = 43  # 62 ** 43 > 2 ** 256
CHECKSUM_LENGTH = 6  # 62 ** 6 > 2 ** 32
DIGEST_BYTES = hashlib.sha256().digest_size

REFRESH_PREFIX = "pcfr_"
FAMILY_LENGTH = 22  # 62 ** 22 > 2 ** 128

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_FORM = re.compile(rf"{PREFIX}([0-9A-Za-z]{{{SECRET_LENGTH}}})([0-9A-Za-z]{{{CHECKSUM_LENGTH}}})")
_REFRESH_FORM = re.compile(
    rf"{REFRESH_PREFIX}([0-9A-Za-z]{{{FAMILY_LENGTH + SECRET_LENGTH}}})"
    rf"([0-9A-Za-z]{{{CHECKSUM_LENGTH}}})"
)


def new_text() -> str:
    """Return the text of a new token, from the operating system's source of randomness."""
    secret = _random(SECRET_LENGTH)
    return f"{PREFIX}{secret}{_checksum(secret)}"


def new_family() -> str:
    """Return the characters that the refresh tokens of a new session begin with."""
    return _random(FAMILY_LENGTH)


def new_refresh_text(family: str) -> str:
    """Return the text of a new refresh token of ``family``."""
    secret = family + _random(SECRET_LENGTH)
    return f"{REFRESH_PREFIX}{secret}{_checksum(secret)}"


def family_of(text: str) -> str | None:
    """Return the family of a refresh token; None for a text that is none."""
    parts = _REFRESH_FORM.fullmatch(text)
    if parts is None or _checksum(parts[1]) != parts[2]:
        return None
    return parts[1][:FAMILY_LENGTH]


def may_be_token(text: str) -> bool:
    """Return whether a token with this text may exist.

    A text without the prefix may exist: tokens older than the form, and the token of the demo data.
    """
    if not text.startswith(PREFIX):
        return True
    parts = _FORM.fullmatch(text)
    return parts is not None and _checksum(parts[1]) == parts[2]


def digest_of(text: str) -> bytes:
    """Return the 32 bytes that the table holds for a token's text.

    A plain SHA-256 is enough: 256 random bits cannot be guessed, unlike passwords.
    """
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _checksum(secret: str) -> str:
    """Return the CRC-32 of ``secret`` in base 62."""
    number = zlib.crc32(secret.encode())
    digits = []
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
