"""Loaders of tags. The tags of a note are loaded by ``notes.TagsByNote``: notes import tags."""

from django.db.models import QuerySet

from pcf.execution.row_loaders import RootPageLoader, RowLoader
from pcf.viewer import Viewer
from tags.models import Tag


class _Tags(RowLoader):
    """Every viewer may see every tag."""

    model = Tag

    @classmethod
    def queryset(cls, viewer: Viewer) -> QuerySet[Tag]:
        """Return all tags."""
        del viewer
        return Tag.objects.all()


class TagById(_Tags):
    """Tags by primary key."""

    dependency = "tag"


class TagByName(_Tags):
    """Tags by their unique name."""

    dependency = "tag-name"
    key = "name"


class AllTags(_Tags, RootPageLoader):
    """A page of all tags. Arguments: ``first``, ``after``."""

    dependency = "tags"
    row_dependency = "tag"
