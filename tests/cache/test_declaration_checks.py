"""Declarations that no trigger can serve are refused before anything is installed."""

import pytest
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.db import connection, models
from django.test.utils import isolate_apps

from pcf.cache.declaration_checks import declaration_problems
from pcf.cache.trigger_installation import TriggerInstallationError
from pcf.cache.triggers import Touch, declare
from tests.cache.hostile_models import Column, install_all, run_sql

pytestmark = pytest.mark.django_db(transaction=True)


def problems():
    return [(problem.code, problem.message) for problem in declaration_problems()]


@isolate_apps("notes")
def test_a_column_in_the_table_of_the_parent(tables):
    class Place(models.Model):
        name = models.CharField(max_length=20)

        class Meta:
            app_label = "notes"

    class Cafe(Place):
        class Meta:
            app_label = "notes"

    declare(Cafe, Touch(kind="cafe", key="name", only=("name",)))
    place = "touches.py declares Touch(kind='cafe') of notes.Cafe: the column of 'name' is in"
    assert problems() == [("pcf.E003", f"{place} the table of notes.Place: declare it there")] * 2


@isolate_apps("notes")
def test_a_composite_key_as_the_key(tables):
    class Line(models.Model):
        pk = models.CompositePrimaryKey("order", "number")
        order = models.IntegerField()
        number = models.IntegerField()

        class Meta:
            app_label = "notes"

    declare(Line, Touch(kind="line", key="pk"), Touch(kind="lines"))
    ((code, message),) = problems()
    assert code == "pcf.E003"
    assert message.endswith("notes.Line is composite: name one of its fields as key")


@isolate_apps("notes")
def test_two_foreign_keys(tables):
    class Person(models.Model):
        class Meta:
            app_label = "notes"

    class Letter(models.Model):
        sender = models.ForeignKey(Person, models.CASCADE, related_name="sent")
        reader = models.ForeignKey(Person, models.CASCADE, related_name="got")

        class Meta:
            app_label = "notes"

    declare(Person, Touch(kind="letter", key="id", through=Letter))
    declare(Person, Touch(kind="mail", key="id", through=Letter, link="writer"))
    assert [message.partition(": ")[2] for _, message in problems()] == [
        "notes.Letter has 2 foreign keys to the model (sender, reader): name one as link",
        "notes.Letter has no foreign key 'writer' to the model",
    ]


@pytest.mark.parametrize("kind", ["a:b", "a!", "*", "ann's", "", "a b", "viewer", "a\\b", "$body$"])
@isolate_apps("notes")
def test_a_kind_that_names_cannot_hold(tables, kind):
    class Thing(models.Model):
        class Meta:
            app_label = "notes"

    declare(Thing, Touch(kind=kind, key="id"))
    assert problems() == [("pcf.E004", f"touches.py declares the kind {kind!r} of notes.Thing")]


@isolate_apps("notes")
def test_two_models_with_one_table(tables):
    class Thing(models.Model):
        class Meta:
            app_label = "notes"

    class Same(models.Model):
        class Meta:
            app_label = "notes"
            db_table = "notes_thing"
            managed = False

    declare(Thing, Touch(kind="thing", key="id"))
    declare(Same, Touch(kind="same", key="id"))
    ((code, message),) = problems()
    assert code == "pcf.E005"
    assert "notes.Same and notes.Thing, which have one table, notes_thing" in message


@isolate_apps("notes")
def test_an_abstract_model_and_no_foreign_key(tables):
    class Base(models.Model):
        class Meta:
            app_label = "notes"
            abstract = True

    class Thing(models.Model):
        size = models.IntegerField()

        class Meta:
            app_label = "notes"

    declare(Base, Touch(kind="base"))
    declare(Thing, Touch(kind="thing"), holding=("size",))
    assert problems() == [
        ("pcf.E006", "touches.py declares notes.Base, which is abstract and has no table"),
        (
            "pcf.E003",
            "touches.py declares holding of notes.Thing: the field 'size' is no foreign key",
        ),
    ]


@pytest.mark.parametrize("type_", ["citext", "ltree"])
@isolate_apps("notes")
def test_a_foreign_key_of_a_type_of_an_extension(tables, type_):
    class Land(models.Model):
        code = Column(type_, primary_key=True)
        name = models.TextField()

        class Meta:
            app_label = "notes"

    class Town(models.Model):
        land = models.ForeignKey(Land, models.CASCADE)

        class Meta:
            app_label = "notes"

    run_sql(f"CREATE EXTENSION {type_}")
    try:
        tables.create(Land, Town)
        declare(Land, Touch(kind="land", key="code"), Touch(kind="lands"))
        assert install_all() == ["notes_land"]
        run_sql("INSERT INTO notes_land VALUES ('a', 'x')")
        same_row = tables.touched(lambda: run_sql("UPDATE notes_land SET name = 'y'"))
        assert "lands:" in same_row
        declare(Land, Touch(kind="town", key="pk", through=Town))
        declare(Town, holding=("land",))
        with pytest.raises(TriggerInstallationError, match=r"land_id .* triggers do not find"):
            install_all()
    finally:
        tables.drop()
        run_sql(f"DROP EXTENSION {type_} CASCADE")


RELATIONS = [
    ("CREATE VIEW notes_thing AS SELECT 1::bigint AS id", "is a view"),
    ("CREATE MATERIALIZED VIEW notes_thing AS SELECT 1::bigint AS id", "is a view"),
    ("CREATE TABLE notes_thing (id bigint) PARTITION BY RANGE (id)", "is partitioned"),
    (
        "CREATE TABLE notes_base (id bigint); CREATE TABLE notes_thing () INHERITS (notes_base)",
        "inherits from another table, or another inherits from it",
    ),
    (
        "CREATE TABLE notes_thing (id bigint); CREATE TABLE notes_base () INHERITS (notes_thing)",
        "inherits from another table, or another inherits from it",
    ),
    (
        (
            "CREATE TABLE notes_base (id bigint) PARTITION BY RANGE (id);"
            "CREATE TABLE notes_thing PARTITION OF notes_base FOR VALUES FROM (1) TO (9)"
        ),
        "is a partition",
    ),
    (
        (
            "CREATE FOREIGN DATA WRAPPER far; CREATE SERVER away FOREIGN DATA WRAPPER far;"
            "CREATE FOREIGN TABLE notes_thing (id bigint) SERVER away"
        ),
        "is a foreign table",
    ),
]


@pytest.mark.parametrize(("create", "problem"), RELATIONS)
@isolate_apps("notes")
def test_a_relation_that_triggers_cannot_serve(tables, create, problem):
    class Thing(models.Model):
        class Meta:
            app_label = "notes"
            managed = False

    class Other(models.Model):
        class Meta:
            app_label = "notes"

    tables.create(Other)
    declare(Thing, Touch(kind="thing", key="id"))
    declare(Other, Touch(kind="other", key="id"))
    run_sql(create)
    try:
        expected = f'touches.py declares notes.Thing, but "notes_thing" {problem}'
        (error,) = run_checks(tags=["database"], databases=["default"])
        assert (error.id, error.msg.partition(":")[0]) == ("pcf.E006", expected)
        with pytest.raises(CommandError, match="notes_thing"):
            call_command("migrate", verbosity=0)
        with pytest.raises(TriggerInstallationError, match="notes_thing"):
            install_all()
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_proc WHERE proname = 'pcf_touch_notes_other'")
            assert cursor.fetchone() == (0,)
    finally:
        drop("notes_thing", "notes_base")


def drop(*names):
    with connection.cursor() as cursor:
        cursor.execute("DROP FOREIGN DATA WRAPPER IF EXISTS far CASCADE")
        for name in names:
            cursor.execute("SELECT relkind FROM pg_class WHERE oid = to_regclass(%s)", [name])
            row = cursor.fetchone()
            kinds = {"v": "VIEW", "m": "MATERIALIZED VIEW", "f": "FOREIGN TABLE"}
            if row:
                cursor.execute(f"DROP {kinds.get(row[0], 'TABLE')} {name} CASCADE")
