"""What writes to the oddities touch."""

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
    Member,
    Place,
    Remark,
    Shadowed,
    Shelf,
    Short,
    Signalled,
    Stone,
    Volume,
    Word,
)  # fmt: skip
from pcf.cache.triggers import Touch, declare, list_touches

for name, owner in OWNERS.items():
    declare(owner, Touch(kind=f"{name}-owner", key="key"))
    declare(owner, Touch(kind=f"{name}-owners", only=("id",)),
            Touch(kind=f"{name}-owner-row", key="id"),
            *list_touches(f"{name}-owners", "key"))  # fmt: skip
    declare(
        ITEMS[name],
        Touch(kind=f"{name}-item", key="id"),
        Touch(kind=f"{name}-items", key="owner", only=("owner",)),
    )
LOOSE = ("ratio", "span", "words", "facts", "data", "address")
declare(Loose, *(Touch(kind=f"loose-{name}", key=name) for name in LOOSE))

declare(Stone, Touch(kind="stone", key="id"), Touch(kind="stones"),
        Touch(kind="stones-of-set", key="set_id"))  # fmt: skip
Link = Label.stones.through
declare(Label, Touch(kind="labels-of-stone", key="stone", through=Link))
declare(Link, Touch(kind="labels-of-stone", key="stone"), holding=("label",))
declare(Inn, Touch(kind="inns"))
declare(Place, Touch(kind="inns", only=("name",)))
declare(Word, Touch(kind="word", key="id"), Touch(kind="words"))
declare(Short, Touch(kind="short", key="id"), Touch(kind="shorts"))
declare(Remark, Touch(kind="remarks", key="object_id"))
for model in (Curio, Shadowed, FromDb, Initialised, Signalled, Place, Inn):
    declare(model, Touch(kind=model.__name__, key="pk"))
declare(Place, Touch(kind="Inn", key="pk"))  # an inn shows the columns of its place
declare(Everything, Touch(kind="everything", key="id"))
declare(Car, Touch(kind="car", key="id"), Touch(kind="cars-by-key", key="key"))
declare(Leaf, Touch(kind="leaves", key="set_id"))
declare(Shelf, Touch(kind="shelf", key="id"))
declare(Shelf, Touch(kind="leaves", key="set_id", through=Leaf, only=("name",)))
declare(Volume, Touch(kind="volumes", key="shelf"), Touch(kind="shelf", key="shelf"))
declare(Member, Touch(kind="account", key="id", only=("is_active",)),
        Touch(kind="member", key="id"))  # fmt: skip

# --- connections

LINKS = {"through": Link, "only": ("label",)}
declare(Stone, *list_touches("stones", "label", "set_id"),
        *list_touches("stones-of-set", "label", "set_id", key="set_id"),
        *list_touches("stones-of-label", "label", "set_id", key="label", through=Link),
        Touch(kind="stone-label", key="label", only=("label",)))  # fmt: skip
declare(Label, Touch(kind="label", key="id"), Touch(kind="labels", only=("id",)),
        Touch(kind="label-code", key="code", only=("code",)), *list_touches("labels", "code"),
        *list_touches("labels-of-stone", "code", key="stone", through=Link))  # fmt: skip
declare(Link, Touch(kind="stones-of-label", key="label"), Touch(kind="stones.labels"),
        Touch(kind="labels.stones"), Touch(kind="stones-of-label.labels"),
        Touch(kind="stones-of-set.labels"), Touch(kind="labels-of-stone.stones"),
        holding=("stone",))  # fmt: skip
declare(Word, *list_touches("words", "label"), Touch(kind="words-by-label", key="label"),
        *list_touches("words-by-label", "label", key="label"))  # fmt: skip
