"""Key types: Python and PostgreSQL spell equal keys alike, and different keys differently."""

from decimal import Decimal

import pytest
from django.contrib.postgres.fields import ArrayField
from django.db import connection, models
from django.db.models.functions import Lower
from django.test.utils import isolate_apps
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notes.models import Note, NoteTag
from pcf.database.key_types import array_type, field_of, key_type_of
from users.models import User

FIELDS = {
    "boolean": (models.BooleanField(), st.booleans()),
    "smallint": (models.SmallIntegerField(), st.integers(-(2**15), 2**15 - 1)),
    "integer": (models.AutoField(primary_key=True), st.integers(-(2**31), 2**31 - 1)),
    "bigint": (models.PositiveBigIntegerField(), st.integers(0, 2**63 - 1)),
    "text": (
        models.SlugField(max_length=9),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    ),
    "uuid": (models.UUIDField(), st.uuids()),
    "date": (models.DateField(), st.dates()),
    "timestamptz": (
        models.DateTimeField(),
        st.datetimes(timezones=st.timezones()).filter(lambda it: 1 < it.year < 9999),
    ),
    "numeric": (
        models.DecimalField(max_digits=40, decimal_places=20),
        st.decimals(-(10**15), 10**15, allow_nan=False, places=15),
    ),
}
SESSIONS = (
    {},
    {"datestyle": "German, DMY", "timezone": "Asia/Kathmandu", "intervalstyle": "sql_standard"},
    {"datestyle": "SQL, MDY", "timezone": "America/Lima", "extra_float_digits": "-10"},
)


def spelled(key_type, cast, key, session):
    with connection.cursor() as cursor:
        for name, value in session.items():
            cursor.execute("SELECT set_config(%s, %s, true)", [name, value])
        cursor.execute(f"SELECT {key_type.spell_sql(f'CAST(%s AS {cast})')}", [key])
        return cursor.fetchone()[0]


@pytest.mark.django_db
@pytest.mark.parametrize("session", SESSIONS)
@pytest.mark.parametrize("cast", FIELDS)
def test_python_and_postgresql_spell_a_key_alike(cast, session):
    field, keys = FIELDS[cast]
    key_type = key_type_of(field)

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(keys)
    def check(key):
        parsed = key_type.parse(key)
        assert key_type.as_asked([key], {key: "found"}) == {key: "found"}
        assert key_type.spell_all([key]) == [key_type.spell(parsed)]
        assert spelled(key_type, cast, key, session) == key_type.spell(parsed)

    check()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("cast", "texts"),
    [
        ("boolean", ["t", "true", "1", "yes", "on"]),
        ("numeric", ["1.5", "1.50", "01.500", "15e-1"]),
        ("numeric", ["0", "-0", "0.00", "0e5"]),
        ("numeric", ["100", "1e2", "100.00"]),
        ("timestamptz", ["2024-03-01T12:00Z", "2024-03-01 17:45:00+05:45"]),
        ("uuid", ["A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc999c0b4ef8bb6d6bb9bd380a11"]),
        ("bigint", ["7", "007", "+7", " 7 "]),
    ],
)
def test_equal_values_have_one_spelling(cast, texts):
    key_type = key_type_of(FIELDS[cast][0])
    assert len({spelled(key_type, cast, text, {}) for text in texts}) == 1
    parsed = [key_type.parse(text) for text in texts if text not in {"yes", "on"}]
    assert {key_type.spell(key) for key in parsed} == {spelled(key_type, cast, texts[0], {})}


@pytest.mark.django_db
def test_what_python_cannot_hold_raises_nothing_in_a_trigger():
    for cast, text in (("date", "infinity"), ("timestamptz", "-infinity"), ("numeric", "NaN"),
                       ("timestamptz", "4713-01-01 BC"), ("date", "20000-01-01")):  # fmt: skip
        spelled(key_type_of(FIELDS[cast][0]), cast, text, {})


@pytest.mark.parametrize(
    ("cast", "value"),
    [
        ("smallint", 2**15), ("integer", -(2**31) - 1), ("bigint", 2**63), ("bigint", 1.5),
        ("bigint", float("nan")), ("bigint", "x"), ("bigint", ""), ("bigint", None),
        ("text", "\0"), ("text", "\ud800"), ("text", None), ("uuid", "x"), ("boolean", "maybe"),
        ("date", "2024-02-30"), ("timestamptz", "0001-01-01T00:00+14:00"), ("numeric", "NaN"),
        ("numeric", Decimal("1e40")), ("numeric", "1e999999999"), ("numeric", "1e-21"),
    ],
)  # fmt: skip
def test_what_no_row_can_have_is_no_key(cast, value):
    key_type = key_type_of(FIELDS[cast][0])
    assert key_type.parse(value) is None
    assert key_type.parse_all([value]) == []
    assert key_type.as_asked([value], {}) == {}


def test_the_same_key_twice_is_one():
    key_type = key_type_of(FIELDS["numeric"][0])
    keys = [Decimal("1.0"), Decimal(2), "1.00", "x"]
    assert key_type.parse_all(keys) == [Decimal(1), Decimal(2)]
    assert key_type.as_asked(keys, {Decimal(1): "one"}) == {Decimal("1.0"): "one", "1.00": "one"}


class Upper(models.CharField):
    def to_python(self, value):
        return value and value.upper()


class Encrypted(models.TextField):
    def from_db_value(self, value, _expression, _connection):
        return value


class FixedLength(models.CharField):
    def db_type(self, _connection):
        return "char(10)"


@pytest.mark.parametrize(
    "field",
    [
        models.FloatField(), models.DurationField(), models.JSONField(), models.BinaryField(),
        models.GenericIPAddressField(), ArrayField(models.IntegerField()), models.TimeField(),
        models.TextField(db_collation="case_insensitive"), Upper(max_length=5), Encrypted(),
        FixedLength(max_length=10),
        models.GeneratedField(expression=models.F("x"), output_field=Encrypted(), db_persist=True),
    ],
)  # fmt: skip
def test_fields_whose_values_may_be_equal_in_one_place_alone_have_no_type(field):
    assert key_type_of(field) is None


def test_naive_times_have_no_type(settings):
    settings.USE_TZ = False
    assert key_type_of(models.DateTimeField()) is None


@isolate_apps("notes")
def test_foreign_keys_and_generated_fields_have_the_type_of_their_target():
    class Part(models.Model):
        code = models.GeneratedField(
            expression=Lower("name"), output_field=models.TextField(), db_persist=True, unique=True
        )

        class Meta:
            app_label = "notes"

    class Link(models.Model):
        part = models.OneToOneField(Part, models.CASCADE, to_field="code", primary_key=True)

        class Meta:
            app_label = "notes"

    class LinkOfLink(models.Model):
        link = models.ForeignKey(Link, models.CASCADE)

        class Meta:
            app_label = "notes"

    for path in ("link", "link_id", "link__part", "link__part__code", "link__pk"):
        field = field_of(LinkOfLink, path)
        assert key_type_of(field).name == "text", path
        assert array_type(field, "default") == "text"


@pytest.mark.parametrize(
    ("model", "path", "name"),
    [
        (Note, "pk", "integer"), (Note, "author", "integer"), (Note, "notetag__tag_id", "integer"),
        (Note, "tags", "integer"), (Note, "author__username", "text"), (User, "notes", "integer"),
        (NoteTag, "note__tags__name", "text"),
    ],
)  # fmt: skip
def test_a_path_leads_to_a_field(model, path, name):
    assert key_type_of(field_of(model, path)).name == name


def test_a_path_to_something_else_leads_nowhere():
    assert field_of(Note, "title__lower") is None
    assert field_of(Note, "annotation") is None


def test_types_of_arrays_have_no_length():
    assert array_type(models.CharField(max_length=5), "default") == "varchar"
    assert array_type(models.DecimalField(max_digits=5, decimal_places=2), "default") == "numeric"
