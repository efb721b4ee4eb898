"""Loaders of the oddities."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db.models import Count, QuerySet
from django.db.models.functions import Length

from odd.filters import (
    LABEL_FILTERS,
    LABEL_ORDERS,
    OWNER_FILTERS,
    OWNER_ORDERS,
    STONE_FILTERS,
    STONE_ORDERS,
    WORD_FILTERS,
    WORD_ORDERS,
)
from odd.models import (
    ITEMS,
    OWNERS,
    Car,
    Curio,
    Everything,
    FromDb,
    Initialised,
    Inn,
    Label,
    Leaf,
    Loose,
    LoudPlace,
    Member,
    Remark,
    Shadowed,
    Shelf,
    Short,
    Signalled,
    Stone,
    Volume,
    Word,
)  # fmt: skip
from pcf.execution.loaders import ListLoader
from pcf.execution.row_loaders import PageLoader, RootPageLoader, RowListLoader, RowLoader
from pcf.pagination.loaders import ConnectionLoader, RootConnectionLoader
from pcf.viewer import Viewer


class AllRows(RowLoader):
    """All rows, for every viewer."""

    @classmethod
    def queryset(cls, viewer: Viewer) -> QuerySet[Any]:
        """Return all rows."""
        del viewer
        return cls.model._default_manager.all()


def define(name: str, base: type[Any], *mixins: type[Any], **members: Any) -> None:
    globals()[name] = type(name, (AllRows, *mixins, base), {"__module__": __name__, **members})


for kind, owner in OWNERS.items():
    item = ITEMS[kind]
    define(f"{kind}OwnerByKey", RowLoader, model=owner, key="key", dependency=f"{kind}-owner")
    options = {
        "model": item, "key": "owner_id", "dependency": f"{kind}-items",
        "row_dependency": f"{kind}-item",
    }  # fmt: skip
    define(f"{kind}Items", RowListLoader, **options)
    define(f"{kind}Pages", PageLoader, **options)
    define(f"{kind}OwnerConnections", RootConnectionLoader, model=owner,
           orders=OWNER_ORDERS[kind], filters=OWNER_FILTERS[kind],
           dependency=f"{kind}-owners", row_dependency=f"{kind}-owner-row")  # fmt: skip


class LooseBy(ListLoader):
    """A loader of its own: texts of rows by any column. The dependency has no spelling."""

    column: str

    def load_batch(self, keys: Sequence[Any]) -> Mapping[Any, Any]:
        """Return the labels for each key."""
        return {
            key: list(
                Loose.objects.filter(**{self.column: key})
                .order_by("id")
                .values_list("label", flat=True)
            )
            for key in keys
        }


for column in ("ratio", "span", "words", "facts", "data", "address"):
    globals()[f"LooseBy_{column}"] = type(
        f"LooseBy_{column}", (LooseBy,), {"column": column, "dependency": f"loose-{column}"}
    )

define("StoneById", RowLoader, model=Stone, dependency="stone")
define("AllStones", RootPageLoader, model=Stone, dependency="stones", row_dependency="stone")
define("StonesOfSet", PageLoader, model=Stone, key="set_id", dependency="stones-of-set")


class LabelsCounted(RowListLoader):
    """Labels, each once, with the number of their characters: an annotation in pages."""

    model = Label
    key = "stones"
    dependency = "labels-of-stone"

    @classmethod
    def queryset(cls, viewer: Viewer) -> QuerySet[Any]:
        """Return labels without duplicates."""
        del viewer
        return Label.objects.annotate(length=Length("code")).distinct()


class LabelPages(LabelsCounted, PageLoader):
    """Pages of them."""


define("LabelsOfStone", RowListLoader, model=Label, key="stones", dependency="labels-of-stone")
define("AllInns", RootPageLoader, model=Inn, dependency="inns")
define("WordById", RowLoader, model=Word, dependency="word")
define("AllWords", RootPageLoader, model=Word, dependency="words", row_dependency="word")
define("ShortById", RowLoader, model=Short, dependency="short")
define("AllShorts", RootPageLoader, model=Short, dependency="shorts")
define("Remarks", RowListLoader, model=Remark, key="object_id", dependency="remarks")
define("RemarkPages", PageLoader, model=Remark, key="object_id", dependency="remarks")
for model in (Curio, Shadowed, FromDb, Initialised, Signalled, Inn):
    define(f"{model.__name__}ById", RowLoader, model=model, dependency=model.__name__)
define("LoudPlaceById", RowLoader, model=LoudPlace, dependency="Place")
define("MemberById", RowLoader, model=Member, dependency="member")


class ShelfById(RowLoader):
    """Shelves with the number of their volumes, by an annotation."""

    model = Shelf
    dependency = "shelf"

    @classmethod
    def queryset(cls, viewer: Viewer) -> QuerySet[Any]:
        """Return all shelves."""
        del viewer
        return Shelf.objects.annotate(n=Count("volume")).defer("name")


define("Volumes", RowListLoader, model=Volume, key="shelf", dependency="volumes")
define("VolumesByTitle", RowListLoader, model=Volume, key="shelf_id", dependency="volumes",
       order_by=("title",))  # fmt: skip


class VolumesUp(RowListLoader):
    """The volumes of a shelf in the order of the query set."""

    model = Volume
    key = "shelf_id"
    dependency = "volumes"

    @classmethod
    def queryset(cls, viewer: Viewer) -> QuerySet[Any]:
        """Return the volumes, and have related rows fetched in vain."""
        del viewer
        return Volume.objects.order_by("rank").select_related("shelf")


class ShelfAsValues(ShelfById):
    """A query set without instances."""

    @classmethod
    def queryset(cls, viewer: Viewer) -> QuerySet[Any]:
        """Return dicts."""
        del viewer
        return Shelf.objects.values("name")


class ShelfPrefetched(ShelfById):
    """A query set that fetches more rows later."""

    @classmethod
    def queryset(cls, viewer: Viewer) -> QuerySet[Any]:
        """Return shelves."""
        del viewer
        return Shelf.objects.prefetch_related("volume_set")


define("CarById", RowLoader, model=Car, dependency="car")
define("CarsByKey", PageLoader, model=Car, key="key", dependency="cars-by-key")
define("Leaves", RowListLoader, model=Leaf, key="set_id", dependency="leaves")
define("EverythingById", RowLoader, model=Everything, dependency="everything")
define("LooseByRatio", RowLoader, model=Loose, key="ratio", dependency="loose-ratio")

# --- connections

listed = {
    "stone": {"model": Stone, "orders": STONE_ORDERS, "filters": STONE_FILTERS},
    "label": {"model": Label, "orders": LABEL_ORDERS, "filters": LABEL_FILTERS},
    "word": {"model": Word, "orders": WORD_ORDERS, "filters": WORD_FILTERS},
}
for name, options in listed.items():
    define(f"{name.title()}Connections", RootConnectionLoader, dependency=f"{name}s",
           row_dependency=name, **options)  # fmt: skip
define("StonesOfSetConnections", ConnectionLoader, key="set_id", dependency="stones-of-set",
       row_dependency="stone", **listed["stone"])  # fmt: skip
define("StonesOfLabelConnections", ConnectionLoader, key="labels", dependency="stones-of-label",
       row_dependency="stone", **listed["stone"])  # fmt: skip
define("LabelsOfStoneConnections", ConnectionLoader, key="stones", dependency="labels-of-stone",
       row_dependency="label", **listed["label"])  # fmt: skip
define("WordsByLabelConnections", ConnectionLoader, key="label", dependency="words-by-label",
       row_dependency="word", **listed["word"])  # fmt: skip
define("LabelById", RowLoader, model=Label, dependency="label")
