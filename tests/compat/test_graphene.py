"""The internals of graphene 3.4 that ``pcf._compat.graphene`` uses."""

import graphene

from pcf._compat.graphene import (
    attribute_of,
    declared_fields,
    graphene_type_of,
    interfaces_of,
    is_default_type_resolver,
    name_in_schema,
    type_name_of,
)

CHANGED = "graphene has changed: see pcf/_compat/graphene.py"


class Author(graphene.ObjectType):
    first_name = graphene.String()
    other = graphene.String(name="another", default_value="none")
    resolved = graphene.String()

    def resolve_resolved(self, info):
        return "text"


SCHEMA = graphene.Schema(query=Author).graphql_schema
FIELDS = SCHEMA.type_map["Author"].fields


def test_the_version_is_one_that_the_module_was_written_for():
    assert graphene.VERSION[:2] == (3, 4), CHANGED


def test_a_type_declares_fields_by_their_names_in_python():
    fields = declared_fields(Author)
    assert list(fields) == ["first_name", "other", "resolved"], CHANGED
    names = [name_in_schema(name, field) for name, field in fields.items()]
    assert names == list(FIELDS) == ["firstName", "another", "resolved"], CHANGED


def test_a_graphql_type_names_its_graphene_type():
    assert graphene_type_of(SCHEMA.type_map["Author"]) is Author, CHANGED
    assert graphene_type_of(object()) is None


class Named(graphene.Interface):
    first_name = graphene.String()


class Deciding(Named):
    @classmethod
    def resolve_type(cls, instance, info):
        return Person


class Person(graphene.ObjectType):
    class Meta:
        name = "Human"
        interfaces = (Named, Deciding)


class Either(graphene.Union):
    class Meta:
        types = (Person, Author)


def test_a_type_tells_its_name_and_its_interfaces():
    assert (type_name_of(Person), type_name_of(Author)) == ("Human", "Author"), CHANGED
    assert (tuple(interfaces_of(Person)), tuple(interfaces_of(Author))) == ((Named, Deciding), ())


def test_an_abstract_type_tells_whether_it_finds_types_itself():
    class Query(graphene.ObjectType):
        either = graphene.Field(Either)

    types = graphene.Schema(query=Query).graphql_schema.type_map
    default = {name: is_default_type_resolver(types[name].resolve_type) for name in
               ("Named", "Deciding", "Either")}  # fmt: skip
    assert default == {"Named": True, "Deciding": False, "Either": True}, CHANGED
    assert types["Named"].resolve_type(Person(), None, types["Named"]) == "Human", CHANGED
    assert not is_default_type_resolver(None)


def test_a_field_may_wrap_its_resolver():
    class Wrapped(graphene.Field):
        def wrap_resolve(self, parent_resolver):
            return self.resolve

        def resolve(self, _parent, _info):
            return "wrapped"

    class Query(graphene.ObjectType):
        text = Wrapped(graphene.String)

    resolve = graphene.Schema(query=Query).graphql_schema.query_type.fields["text"].resolve
    assert resolve.__func__ is Wrapped.resolve, CHANGED
    assert isinstance(resolve.__self__, Wrapped), CHANGED


def test_a_default_resolver_tells_what_it_reads():
    assert attribute_of(FIELDS["firstName"].resolve) == ("first_name", None), CHANGED
    assert attribute_of(FIELDS["another"].resolve) == ("other", "none"), CHANGED
    assert attribute_of(FIELDS["resolved"].resolve) is None
    assert attribute_of(None) is None


def test_a_default_resolver_reads_an_entry_or_an_attribute():
    resolve = FIELDS["firstName"].resolve
    assert resolve({"first_name": "Ann"}, None) == "Ann", CHANGED
    assert resolve(Author(first_name="Ann"), None) == "Ann", CHANGED
    assert resolve(object(), None) is None, CHANGED
