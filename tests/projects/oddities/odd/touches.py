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
from pcf.cache.triggers import Touch, declare

for name, owner in OWNERS.items():
    declare(owner, Touch(kind=f"{name}-owner", key="key"))
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
