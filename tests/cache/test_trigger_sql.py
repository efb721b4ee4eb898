"""Triggers on models of every kind: each write touches what it should, and no write fails."""

import uuid

import pytest
from django.db import connection, models
from django.test.utils import isolate_apps

from pcf.cache import triggers
from pcf.cache.trigger_installation import stale_triggers
from pcf.cache.triggers import Touch, declare
from tests.cache.hostile_models import Column, install_all, run_sql

pytestmark = pytest.mark.django_db(transaction=True)


@isolate_apps("notes")
def test_a_child_in_multi_table_inheritance(tables):
    class Place(models.Model):
        name = models.CharField(max_length=20)

        class Meta:
            app_label = "notes"

    class Cafe(Place):
        stars = models.IntegerField(default=1)

        class Meta:
            app_label = "notes"

    tables.create(Place, Cafe)
    declare(Place, Touch(kind="place", key="id"), Touch(kind="cafe", key="id"))
    declare(Cafe, Touch(kind="cafe", key="pk"), Touch(kind="cafes", only=("stars",)))
    install_all()
    cafe = Cafe.objects.create(name="a")
    assert tables.touched(lambda: Cafe.objects.update(stars=2)) == {f"cafe:{cafe.pk}", "cafes:"}
    both = {f"cafe:{cafe.pk}", f"place:{cafe.pk}"}
    assert tables.touched(lambda: Cafe.objects.update(name="b")) == both
    assert tables.touched(cafe.delete) == both | {"cafes:"}


@isolate_apps("notes")
def test_a_composite_primary_key(tables):
    class Line(models.Model):
        pk = models.CompositePrimaryKey("order", "number")
        order = models.IntegerField()
        number = models.CharField(max_length=5)
        text = models.TextField()

        class Meta:
            app_label = "notes"

    tables.create(Line)
    declare(Line, Touch(kind="lines-by-order", key="order"), Touch(kind="lines", only=("text",)))
    install_all()
    insert = lambda: Line.objects.create(order=1, number="a", text="x")  # noqa: E731
    assert tables.touched(insert) == {"lines-by-order:1", "lines:"}
    assert tables.touched(lambda: Line.objects.update(text="x")) == set()
    assert tables.touched(lambda: Line.objects.update(text="y")) == {"lines-by-order:1", "lines:"}
    moved = {"lines-by-order:1", "lines-by-order:2", "lines:"}
    assert tables.touched(lambda: Line.objects.update(order=2)) == moved
    assert tables.touched(Line.objects.all().delete) == {"lines-by-order:2", "lines:"}


# values that PostgreSQL cannot compare, or calls equal, and that an answer shows differently
@pytest.mark.parametrize(
    ("type_", "before", "after"),
    [
        ("json", '{"a": 1}', '{"a":1}'),
        ("point", "(1,2)", "(1,3)"),
        ("numeric", "1.0", "1.00"),
        ("jsonb", '{"a": 1.0}', '{"a": 1.00}'),
        ("interval", "1 day", "24 hours"),
        ("json[]", '{"[1]"}', '{"[2]"}'),
        ("float8", "0", "-0"),
        ("box", "(2,2),(0,0)", "(3,3),(1,1)"),
    ],
)
@isolate_apps("notes")
def test_a_column_without_equality_or_with_a_loose_one(tables, type_, before, after):
    class Thing(models.Model):
        value = Column(type_, null=True)

        class Meta:
            app_label = "notes"

    tables.create(Thing)
    declare(Thing, Touch(kind="thing", key="id"))
    install_all()
    pk = Thing.objects.create(value=None).pk
    update = "UPDATE notes_thing SET value = %s"
    assert tables.touched(lambda: run_sql(update, before)) == {f"thing:{pk}"}
    assert tables.touched(lambda: run_sql(update, before)) == set()
    assert tables.touched(lambda: run_sql(update, after)) == {f"thing:{pk}"}
    assert tables.touched(lambda: run_sql(update, None)) == {f"thing:{pk}"}


@isolate_apps("notes")
def test_a_generated_column(tables):
    class Person(models.Model):
        name = models.CharField(max_length=20)
        loud = models.GeneratedField(
            expression=models.functions.Upper("name"),
            output_field=models.CharField(max_length=20),
            db_persist=True,
        )

        class Meta:
            app_label = "notes"

    tables.create(Person)
    declare(Person, Touch(kind="people", only=("loud",)))
    install_all()
    Person.objects.create(name="a")
    assert tables.touched(lambda: Person.objects.update(name="A")) == set()
    assert tables.touched(lambda: Person.objects.update(name="b")) > {"people:"}


@isolate_apps("notes")
def test_a_table_in_another_schema(tables):
    class Book(models.Model):
        title = models.CharField(max_length=20)

        class Meta:
            app_label = "notes"
            db_table = 'shelf"."book'

    class Copy(models.Model):
        book = models.ForeignKey(Book, models.CASCADE)
        shop = models.IntegerField()

        class Meta:
            app_label = "notes"
            db_table = 'shelf"."copy'

    run_sql("CREATE SCHEMA shelf")
    try:
        tables.create(Book, Copy)
        declare(Book, Touch(kind="shop", key="shop", through=Copy))
        declare(Copy, Touch(kind="shop", key="shop"), holding=("book",))
        assert install_all() == ['shelf"."book', 'shelf"."copy']
        book = Book.objects.create(title="a")
        assert tables.touched(lambda: Copy.objects.create(book=book, shop=7)) == {"shop:7"}
        assert tables.touched(lambda: Book.objects.update(title="b")) == {"shop:7"}
        with connection.cursor() as cursor:
            assert stale_triggers(cursor) == []
    finally:
        run_sql("DROP SCHEMA shelf CASCADE")


@isolate_apps("notes")
def test_tables_with_names_of_63_bytes(tables):
    class First(models.Model):
        class Meta:
            app_label = "notes"
            db_table = "long_" * 12 + "_a"

    class Second(models.Model):
        class Meta:
            app_label = "notes"
            db_table = "long_" * 12 + "_b"

    tables.create(First, Second)
    declare(First, Touch(kind="first", key="id"))
    declare(Second, Touch(kind="second", key="id"))
    assert len(install_all()) == 2
    assert install_all() == []
    assert tables.touched(lambda: First.objects.create(pk=1)) == {"first:1"}
    assert tables.touched(lambda: Second.objects.create(pk=1)) == {"second:1"}


@isolate_apps("notes")
def test_a_model_and_its_proxy(tables):
    class Hue(models.Model):
        class Meta:
            app_label = "notes"

    class Shade(Hue):
        class Meta:
            app_label = "notes"
            proxy = True

    class Use(models.Model):
        hue = models.ForeignKey(Shade, models.CASCADE)

        class Meta:
            app_label = "notes"

    tables.create(Hue, Use)
    declare(Hue, Touch(kind="hue", key="id"), Touch(kind="use", key="id", through=Use))
    declare(Shade, Touch(kind="shade", key="id"))
    assert [declaration.model for declaration in triggers.declarations()] == [Hue]
    install_all()
    assert tables.touched(lambda: Hue.objects.create(pk=1)) == {"hue:1", "shade:1"}
    Use.objects.create(pk=5, hue_id=1)
    assert tables.touched(Shade.objects.all().delete) >= {"hue:1", "shade:1"}


@isolate_apps("notes")
def test_foreign_keys_to_another_field_than_the_primary_key(tables):
    class Land(models.Model):
        code = models.UUIDField(unique=True, default=uuid.uuid4)
        name = models.CharField(max_length=9)

        class Meta:
            app_label = "notes"

    class Town(models.Model):
        land = models.ForeignKey(Land, models.CASCADE, to_field="code")

        class Meta:
            app_label = "notes"

    tables.create(Land, Town)
    declare(Land, Touch(kind="town", key="id", through=Town))
    declare(Town, Touch(kind="town", key="id"), holding=("land",))
    install_all()
    land = Land.objects.create(name="a")
    assert tables.touched(lambda: Town.objects.create(pk=3, land=land)) == {"town:3"}
    assert tables.touched(lambda: Land.objects.update(name="b")) == {"town:3"}


@isolate_apps("notes")
def test_one_of_two_foreign_keys(tables):
    class Person(models.Model):
        name = models.CharField(max_length=9)

        class Meta:
            app_label = "notes"

    class Letter(models.Model):
        sender = models.ForeignKey(Person, models.CASCADE, related_name="sent")
        reader = models.ForeignKey(Person, models.CASCADE, related_name="got")

        class Meta:
            app_label = "notes"

    tables.create(Person, Letter)
    declare(Person, Touch(kind="letter", key="id", through=Letter, link="reader"))
    install_all()
    ann, bob = Person.objects.create(name="a"), Person.objects.create(name="b")
    Letter.objects.create(pk=4, sender=ann, reader=bob)
    rename = lambda person: Person.objects.filter(pk=person.pk).update(name="x")  # noqa: E731
    assert tables.touched(lambda: rename(ann)) == set()
    assert tables.touched(lambda: rename(bob)) == {"letter:4"}


@isolate_apps("notes")
def test_a_quote_in_a_kind(tables):
    class Thing(models.Model):
        class Meta:
            app_label = "notes"

    tables.create(Thing)
    declare(Thing, Touch(kind="ann's", key="id"))
    install_all()
    assert tables.touched(lambda: Thing.objects.create(pk=1)) == {"ann's:1"}
    assert tables.touched(lambda: run_sql("TRUNCATE notes_thing")) == {"ann's!"}


@isolate_apps("notes")
def test_a_write_between_a_change_of_the_table_and_the_end_of_migrate(tables):
    class Thing(models.Model):
        name = models.CharField(max_length=9)

        class Meta:
            app_label = "notes"

    class Part(models.Model):
        thing = models.ForeignKey(Thing, models.CASCADE)

        class Meta:
            app_label = "notes"

    tables.create(Thing, Part)
    declare(Thing, Touch(kind="thing", key="id"), Touch(kind="part", key="id", through=Part))
    install_all()
    Thing.objects.create(name="a")
    whole = {"thing!", "part!"}
    run_sql("ALTER TABLE notes_thing RENAME name TO title")
    assert tables.touched(lambda: run_sql("UPDATE notes_thing SET title = 'b'")) == whole
    run_sql("ALTER TABLE notes_thing RENAME title TO name")
    assert tables.touched(lambda: run_sql("UPDATE notes_thing SET name = 'c'")) == {"thing:1"}
    run_sql("ALTER TABLE notes_part RENAME TO notes_piece")
    assert tables.touched(lambda: run_sql("UPDATE notes_thing SET name = 'd'")) == whole
