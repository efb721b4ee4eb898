"""Tags."""

from django.contrib.postgres.indexes import GinIndex
from django.db import models

from pcf.database.fields import folded


class Tag(models.Model):
    """A word that describes notes."""

    name = models.CharField(max_length=50, unique=True)
    name_folded = folded("name")

    class Meta:
        """Every tag has a name. The indexes serve lists by name, and parts of names."""

        ordering = ("id",)
        indexes = [
            models.Index(fields=("name_folded", "id"), name="tags_tag_folded_id"),
            GinIndex(
                fields=("name_folded",), opclasses=("gin_trgm_ops",), name="tags_tag_folded_part"
            ),
        ]
        constraints = [
            models.CheckConstraint(condition=~models.Q(name=""), name="tags_tag_name_not_empty"),
        ]

    def __str__(self) -> str:
        return self.name
