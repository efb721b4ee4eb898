"""The text of an API token: what it looks like, and how it is recognised.

``pcf_``, 43 random characters of ``0-9A-Za-z`` (256 bits), and 6 that are the CRC-32 of those 43
in base 62. The prefix and the checksum let scanners for secrets find a text that got into a
repository or a log, without false alarms; a text with a wrong checksum is refused without asking
the database.
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

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_FORM = re.compile(rf"{PREFIX}([0-9A-Za-z]{{{SECRET_LENGTH}}})([0-9A-Za-z]{{{CHECKSUM_LENGTH}}})")


def new_text() -> str:
    """A new token's text, from the system's source of randomness."""
    secret = "".join(secrets.choice(_ALPHABET) for _ in range(SECRET_LENGTH))
    return f"{PREFIX}{secret}{_checksum(secret)}"


def may_be_token(text: str) -> bool:
    """Whether a token with this text may exist.

    One without the prefix may: texts were given out before there was a form, and the demo data
    has one of its own.
    """
    if not text.startswith(PREFIX):
        return True
    parts = _FORM.fullmatch(text)
    return parts is not None and _checksum(parts[1]) == parts[2]


def digest_of(text: str) -> bytes:
    """The 32 bytes under which a token's text is stored.

    A plain SHA-256 is enough for 256 random bits, which cannot be guessed however fast one hashes;
    a slow hash is for passwords.
    """
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _checksum(secret: str) -> str:
    number = zlib.crc32(secret.encode())
    digits = []
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
