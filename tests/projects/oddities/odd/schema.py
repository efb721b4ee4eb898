"""The types and queries of the oddities."""

from collections.abc import Mapping
from typing import Any

import graphene
from graphene.types.generic import GenericScalar
from graphene_django import DjangoObjectType

from odd.filters import LABELS_OF_STONES, STONES_OF_LABELS
from odd.models import (
    ITEMS,
    OWNERS,
    Car,
    Curio,
    FromDb,
    Initialised,
    Inn,
    Label,
    Leaf,
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
from pcf.execution.dependencies import WHOLE
from pcf.execution.edges import Edge, RootEdge, Route
from pcf.execution.nodes import Node, NodeEdge, NodeId, NodesEdge
from pcf.execution.paging import page_of
from pcf.pagination.fields import ConnectionField, Facets, RowConnection

fields: dict[str, Any] = {}


def define(
    model: type[Any],
    *shown: str,
    name: str | None = None,
    interfaces: tuple[Any, ...] = (),
    **edges: Any,
) -> Any:
    """Return the type of ``model`` with the fields ``shown``."""
    options = {"model": model, "fields": shown, "convert_choices_to_enum": False}
    if interfaces:  # a type beside the one that edges lead to
        options |= {"name": name, "interfaces": interfaces, "skip_registry": True}
    meta = type("Meta", (), options)
    return type(f"{model.__name__}Type", (DjangoObjectType,), {**edges, "Meta": meta})


def by_key(type_: Any, loader: str, **options: Any) -> RootEdge:
    """Return an edge whose key is the text of the argument ``key``."""

    def route(_context: Any, arguments: Mapping[str, Any]) -> Route:
        return Route(loader, arguments["key"])

    key = graphene.String(required=True)
    return RootEdge(type_, loaders=(loader,), route=route, args={"key": key}, **options)


def page(type_: Any, loader: str) -> RootEdge:
    """Return a page of all rows."""

    def route(_context: Any, arguments: Mapping[str, Any]) -> Route:
        return Route(loader, WHOLE, page_of(arguments))

    return RootEdge(type_, loaders=(loader,), route=route, many=True, first=2)


def connection(node: Any, name: str, **members: Any) -> Any:
    """Return the connection type ``{name}Connection`` of the type ``node``."""
    meta = type("Meta", (), {"node": node, "name": f"{name}Connection"})
    return type(f"{name}Connection", (RowConnection,), {"Meta": meta, **members})


def facets(name: str, node: Any, loader: str, source: Any) -> Facets:
    """Return a field with facets whose keys are those of the rows of ``node``."""
    row = Edge(node, loader=loader, key="key", required=True)
    facet = type(f"{name}Facet", (graphene.ObjectType,), {"row": row, "count": graphene.Int()})
    return Facets(facet, source=source, first=3, description="Facets.")


for name, owner in OWNERS.items():
    item_type = define(
        ITEMS[name], "id", "label",
        owner=Edge(f"odd.schema.{name}OwnerType", loader=f"odd.{name}OwnerByKey", key="owner_id"),
    )  # fmt: skip
    owner_type = define(
        owner, "id", "label",
        items=Edge(item_type, loader=f"odd.{name}Items", key="key", many=True),
        pages=Edge(item_type, loader=f"odd.{name}Pages", key="key", many=True, first=10),
    )  # fmt: skip
    globals()[f"{name}OwnerType"] = owner_type
    fields[f"{name.lower()}_owner"] = by_key(owner_type, f"odd.{name}OwnerByKey")
    fields[f"{name.lower()}_owners"] = ConnectionField(
        connection(owner_type, f"{name}Owner"), loader=f"odd.{name}OwnerConnections", key=None
    )


def loose(column: str, convert: Any) -> graphene.Field:
    """Return a field with the labels of the rows that have a value."""

    def resolve(_root: Any, info: Any, key: str) -> Any:
        return info.context.loaders.get(f"odd.LooseBy_{column}").load(convert(key))

    key = graphene.String(required=True)
    return graphene.List(graphene.String, args={"key": key}, resolver=resolve)


remark_type = define(Remark, "id", "text")
label_type = define(
    Label, "id", "code",
    length=graphene.Int(),
    stones=ConnectionField("odd.schema.StoneConnection", loader="odd.StonesOfLabelConnections"),
)  # fmt: skip
stone_type = define(
    Stone, "id", "label",
    remarks=Edge(remark_type, loader="odd.Remarks", many=True),
    labels=Edge(label_type, loader="odd.LabelsOfStone", many=True),
    counted=Edge(label_type, loader="odd.LabelsCounted", many=True),
    label_pages=Edge(label_type, loader="odd.LabelPages", many=True, first=2),
    of_set=Edge("odd.schema.StoneType", loader="odd.StonesOfSet", key="set_id", many=True, first=2),
    same_set=ConnectionField(
        "odd.schema.StoneConnection", loader="odd.StonesOfSetConnections", key="set_id"
    ),
    labels_connection=ConnectionField(
        "odd.schema.LabelConnection", loader="odd.LabelsOfStoneConnections"
    ),
)  # fmt: skip
StoneType = stone_type
word_type = define(
    Word, "id", "label",
    same_label=ConnectionField(
        "odd.schema.WordConnection", loader="odd.WordsByLabelConnections", key="label"
    ),
)  # fmt: skip
StoneConnection = connection(
    stone_type, "Stone", facets=facets("Label", label_type, "odd.LabelById", LABELS_OF_STONES)
)
LabelConnection = connection(
    label_type, "Label", facets=facets("Stone", stone_type, "odd.StoneById", STONES_OF_LABELS)
)
WordConnection = connection(word_type, "Word")
short_type = define(
    Short, "id", "label",
    remarks=Edge(remark_type, loader="odd.Remarks", many=True),
    remark_pages=Edge(remark_type, loader="odd.RemarkPages", many=True, first=5),
)  # fmt: skip


class CurioType(DjangoObjectType):
    """A curio, field by field."""

    price = graphene.String()
    phone = graphene.String()
    secret = graphene.String()
    url = graphene.String()
    facts = GenericScalar()
    title = graphene.String()
    picture = graphene.String()
    colour = graphene.String()

    class Meta:
        model = Curio
        fields = ("id", "currency", "made_at", "hidden", "amount")

    def resolve_url(self, _info: Any) -> str | None:
        return self.picture.url if self.picture else None


shelf_type = define(
    Shelf, "id", "name",
    n=graphene.Int(),
    volumes=Edge("odd.schema.VolumeType", loader="odd.Volumes", many=True),
    by_title=Edge("odd.schema.VolumeType", loader="odd.VolumesByTitle", many=True),
    upwards=Edge("odd.schema.VolumeType", loader="odd.VolumesUp", many=True),
)  # fmt: skip
VolumeType = define(Volume, "id", "title")


class LoudPlaceType(DjangoObjectType):
    """A proxy."""

    shout = graphene.String()

    class Meta:
        model = LoudPlace
        fields = ("id", "name")


class InnType(DjangoObjectType):
    """A child."""

    class Meta:
        model = Inn
        fields = ("name", "beds")


CAR = [field.name for field in Car._meta.concrete_fields if field.name != "id"]
SameCarType = define(Car, "id", *CAR)
stone_node = define(
    Stone, "label", node_id=NodeId("odd.StoneById"), name="StoneNode", interfaces=(Node,)
)
word_node = define(
    Word, "label", node_id=NodeId("odd.WordById"), name="WordNode", interfaces=(Node,)
)
short_node = define(
    Short, "label", node_id=NodeId("odd.ShortById"), name="ShortNode", interfaces=(Node,)
)
NODES = (stone_node, word_node, short_node)
fields |= {
    "node": NodeEdge(*NODES),
    "nodes": NodesEdge(*NODES),
    "stone": by_key(stone_type, "odd.StoneById"),
    "stones": page(stone_type, "odd.AllStones"),
    "inns": page(InnType, "odd.AllInns"),
    "word": by_key(word_type, "odd.WordById"),
    "words": page(word_type, "odd.AllWords"),
    "stones_connection": ConnectionField(StoneConnection, loader="odd.StoneConnections", key=None),
    "labels_connection": ConnectionField(LabelConnection, loader="odd.LabelConnections", key=None),
    "words_connection": ConnectionField(WordConnection, loader="odd.WordConnections", key=None),
    "short": by_key(short_type, "odd.ShortById"),
    "shorts": page(short_type, "odd.AllShorts"),
    "curio": by_key(CurioType, "odd.CurioById"),
    "car": by_key(
        define(
            Car,
            "id",
            *CAR,
            same=Edge(
                "odd.schema.SameCarType", loader="odd.CarsByKey", key="key", many=True, first=5
            ),
        ),
        "odd.CarById",
    ),
    "leaves": by_key(define(Leaf, "id"), "odd.Leaves", many=True),
    "inn": by_key(InnType, "odd.InnById"),
    "loud_place": by_key(LoudPlaceType, "odd.LoudPlaceById"),
    "shelf": by_key(shelf_type, "odd.ShelfById"),
    "shelf_as_values": by_key(shelf_type, "odd.ShelfAsValues"),
    "shelf_prefetched": by_key(shelf_type, "odd.ShelfPrefetched"),
}
for model in (Shadowed, FromDb, Initialised, Signalled):
    fields[model.__name__.lower()] = by_key(
        define(model, "id", "label"), f"odd.{model.__name__}ById"
    )


member_type = define(Member, "id", "name")
fields["me"] = RootEdge(
    member_type,
    loaders=("odd.MemberById",),
    route=lambda context, _arguments: Route("odd.MemberById", context.viewer.id),
)
fields["named"] = RootEdge(
    word_type,
    loaders=("odd.WordById",),
    route=lambda _context, given: Route(
        "odd.WordById", "|".join(f"{k}={given[k]}" for k in sorted(given))
    ),
    size=graphene.String(),
    required=graphene.Boolean(),
    key=graphene.String(),
    description=graphene.String(),
    many=graphene.Int(),
    first=graphene.Int(),
    args={
        name: graphene.String() for name in ("loader", "type_", "self", "info", "parent", "route")
    },
)

LOOSE = {
    "ratio": float,
    "address": str,
}
for column, convert in LOOSE.items():
    fields[f"loose_{column}"] = loose(column, convert)

OddQuery = type("OddQuery", (graphene.ObjectType,), fields)
