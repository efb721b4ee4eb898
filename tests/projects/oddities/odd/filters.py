"""What clients may sort and filter connections by."""

from odd.models import OWNERS, Label, Stone, Word
from pcf.pagination.counts import FacetSource
from pcf.pagination.filter_types import IDFilter, RelatedFilter
from pcf.pagination.filters import FilterSet
from pcf.pagination.orders import Order, OrderSet, Term

Link = Label.stones.through
BY_LABEL = {"LABEL": Order("label", "By label.")}
FIRST_LABEL = (Term("LABEL", descending=False),)

STONE_ORDERS = OrderSet("Stone", BY_LABEL, default=FIRST_LABEL)
STONE_FILTERS = FilterSet(
    "Stone",
    Stone,
    {
        "id": IDFilter("pk", "The id."),
        "set_id": IDFilter("set_id", "The set."),
        "labels": RelatedFilter(
            "labels", "The labels.", name="Label", through=Link, link="stone", target="label_id",
            by_name="code", name_kind="label-code",
        ),
    },
)  # fmt: skip
LABELS_OF_STONES = FacetSource(Link, "stone", "label_id", "labels")

LABEL_ORDERS = OrderSet(
    "Label", {"CODE": Order("code", "By code.")}, default=(Term("CODE", descending=True),)
)
LABEL_FILTERS = FilterSet(
    "Label",
    Label,
    {
        "id": IDFilter("pk", "The id."),
        "stones": RelatedFilter(
            "stones", "The stones.", name="Stone", through=Link, link="label", target="stone_id",
            by_name="label", name_kind="stone-label",
        ),
    },
)  # fmt: skip
STONES_OF_LABELS = FacetSource(Link, "label", "stone_id", "stones")

WORD_ORDERS = OrderSet("Word", BY_LABEL, default=FIRST_LABEL)
WORD_FILTERS = FilterSet(
    "Word", Word, {"id": IDFilter("pk", "The id."), "label": IDFilter("label", "The label.")}
)

OWNER_ORDERS = {
    name: OrderSet(
        f"{name}Owner", {"KEY": Order("key", "By key.")}, default=(Term("KEY", descending=False),)
    )
    for name in OWNERS
}
OWNER_FILTERS = {
    name: FilterSet(f"{name}Owner", owner, {"key": IDFilter("key", "The key.")})
    for name, owner in OWNERS.items()
}
