"""The constraints in PostgreSQL, which hold for every writer."""

import pytest
from django.db import DataError, IntegrityError

from tags.models import Tag

pytestmark = pytest.mark.django_db


def test_a_tags_name_is_not_empty() -> None:
    with pytest.raises(IntegrityError, match="tags_tag_name_not_empty"):
        Tag.objects.create(name="")


def test_a_tags_name_is_unique() -> None:
    Tag.objects.create(name="red")
    with pytest.raises(IntegrityError, match="tags_tag_name_key"):
        Tag.objects.create(name="red")


def test_a_tags_name_has_at_most_50_characters() -> None:
    Tag.objects.create(name="x" * 50)
    with pytest.raises(DataError, match="too long"):
        Tag.objects.create(name="x" * 51)
