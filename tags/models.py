"""Tags."""

from django.db import models


class Tag(models.Model):
    """A word that notes can be marked with."""

    name = models.CharField(max_length=50, unique=True)

    class Meta:
        """A tag has a name."""

        ordering = ("id",)
        constraints = [
            models.CheckConstraint(condition=~models.Q(name=""), name="tags_tag_name_not_empty"),
        ]

    def __str__(self) -> str:
        return self.name
