"""Tags."""

from collections.abc import Collection
from typing import Any

from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import F

from pcf.database.fields import CaseFold, folded
from tags.names import MAX_NAME, IsNormal, normalized, validate_name


class Tag(models.Model):
    """A word that describes notes. ``clean_fields`` and ``save`` normalise the name."""

    name = models.CharField(max_length=MAX_NAME, unique=True, validators=[validate_name])
    name_folded = folded("name")

    class Meta:
        """Every tag has a name of its own, without regard to case.

        The constraints hold for writers that bypass the model. The indexes serve lists by name, and
        parts of names.
        """

        ordering = ("id",)
        indexes = [
            models.Index(fields=("name_folded", "id"), name="tags_tag_folded_id"),
            GinIndex(
                fields=("name_folded",), opclasses=("gin_trgm_ops",), name="tags_tag_folded_part"
            ),
        ]
        constraints = [
            models.CheckConstraint(condition=~models.Q(name=""), name="tags_tag_name_not_empty"),
            models.CheckConstraint(condition=IsNormal(F("name")), name="tags_tag_name_normal"),
            models.UniqueConstraint(
                CaseFold("name"),
                name="tags_tag_name_unique",
                violation_error_code="unique",
                violation_error_message="Another tag has this name.",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the tag with a normalised name."""
        self.name = normalized(self.name)
        super().save(*args, **kwargs)

    def clean_fields(self, exclude: Collection[str] | None = None) -> None:
        """Normalise and validate the name. Raises ValidationError."""
        self.name = normalized(self.name)
        super().clean_fields(exclude)
