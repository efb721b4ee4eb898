"""graphene-django 3.2: what DjangoObjectType does with the instances of its model.

Works with graphene-django >= 3.2, < 3.3. Undocumented, and used here:

* ``_meta.model`` of a DjangoObjectType;
* ``DjangoObjectType.resolve_id``: returns the primary key;
* ``DjangoObjectType.is_type_of``: looks at the class of an instance alone;
* the resolvers of its list and connection fields (``graphene_django.fields``, ``.filter.fields``),
  ``custom_resolver`` of its relations (``graphene_django.converter``), and relay's ``Node``.
"""

from functools import partial
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db.models import Model
from graphene_django import DjangoObjectType

from pcf._compat.graphene import attribute_of


def model_of(graphene_type: Any) -> type[Model]:
    """Return the model of a DjangoObjectType."""
    model: type[Model] = graphene_type._meta.model  # noqa: SLF001
    return model


def is_primary_key_resolver(resolver: Any) -> bool:
    """Return whether ``resolver`` is the one that DjangoObjectType has for ``id``."""
    return resolver is DjangoObjectType.resolve_id


def is_default_type_check(is_type_of: Any) -> bool:
    """Return whether ``is_type_of`` is DjangoObjectType's own, which looks at the class alone."""
    default = DjangoObjectType.is_type_of.__func__
    return getattr(is_type_of, "__func__", None) is default


_READING_MODULES = {
    "graphene_django.fields",
    "graphene_django.filter.fields",
}
_READING_FUNCTIONS = {
    ("graphene_django.converter", "custom_resolver"),
    ("graphene.relay.node", "node_resolver"),
}


def reads_database(resolver: Any, graphene_type: Any) -> bool:
    """Return whether a resolver that no project wrote sends a statement.

    Such are lists, connections, relay's ``node``, and relations of the model of ``graphene_type``.
    """
    attribute = attribute_of(resolver)
    if attribute is not None:
        return _is_relation(graphene_type, attribute[0])
    while isinstance(resolver, partial):
        resolver = resolver.func
    function = getattr(resolver, "__module__", ""), getattr(resolver, "__name__", "")
    return function[0] in _READING_MODULES or function in _READING_FUNCTIONS


def _is_relation(graphene_type: Any, attribute: str) -> bool:
    model = getattr(getattr(graphene_type, "_meta", None), "model", None)
    if model is None:
        return False
    try:
        field = model._meta.get_field(attribute)  # noqa: SLF001
    except FieldDoesNotExist:
        return False
    return bool(field.is_relation and attribute != getattr(field, "attname", None))
