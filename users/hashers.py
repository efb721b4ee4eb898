"""The hash of a password: Argon2id on one processor."""

from django.contrib.auth.hashers import Argon2PasswordHasher


class OneLaneArgon2Hasher(Argon2PasswordHasher):
    """Argon2id with 46 MiB, one pass and one lane (OWASP Password Storage Cheat Sheet).

    Django's own values are 100 MiB and eight lanes, for a machine that does nothing else: a hash
    then occupies all processors for 0.1 s, and all other requests wait. A hash of other values
    stays valid. Django replaces it when its user logs in.
    """

    time_cost = 1
    # KiB. glibc's malloc gives a block of more than 32 MiB back to the system when it is freed, and
    # keeps a smaller one (mallopt(3), M_MMAP_THRESHOLD).
    memory_cost = 47_104
    parallelism = 1
