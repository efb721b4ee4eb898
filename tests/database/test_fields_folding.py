"""Folded text: no case, no accents, ordered by code point; and the texts with a prefix."""

import unicodedata

import pytest
from django.db import connection
from django.db.models import Value
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from pcf.database.fields import Fold, PrefixEnd
from tags.models import Tag

pytestmark = pytest.mark.django_db

LAST = "\U0010ffff"


def call(function: str, text: str | None) -> str | None:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}(%s)", [text])
        (result,) = cursor.fetchone()
    return result


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Résumé", "resume"),
        (unicodedata.normalize("NFD", "Résumé"), "resume"),
        ("CAFÉ Ñandú", "cafe nandu"),
        ("Straße", "strasse"),
        ("Łódź", "lodz"),
        ("Ærø", "aero"),
        ("İstanbul", "istanbul"),
        ("ЖУК", "жук"),
        ("ΟΔΌΣ οδός", "οδοσ οδοσ"),  # one letter for the sigma, wherever it stands
        ("漢字", "漢字"),
        ("", ""),
        (" a  b ", " a  b "),
    ],
)
def test_case_and_accents_do_not_count(text: str, expected: str) -> None:
    assert call("pcf_fold", text) == expected


def test_null_stays_null() -> None:
    assert call("pcf_fold", None) is None
    assert call("pcf_prefix_end", None) is None


@pytest.mark.parametrize(
    ("prefix", "end"),
    [
        ("a", "b"),
        ("abc", "abd"),
        ("a\x7f", "a\x80"),
        ("a\ud7ff", "a\ue000"),  # no text has the surrogates between them
        ("a\uffff", "a\U00010000"),
        ("a" + LAST, "b"),
        ("a" + LAST * 3, "b"),
        ("", LAST * 1_000),
        (LAST * 2, LAST * 1_002),
    ],
)
def test_the_end_of_a_prefix(prefix: str, end: str) -> None:
    assert call("pcf_prefix_end", prefix) == end


characters = st.characters(exclude_characters="\x00", exclude_categories=["Cs"])
texts = st.text(characters | st.sampled_from(["\ud7ff", "\ue000", LAST, "a"]), max_size=5)


class Prefixes(TestCase):
    @settings(deadline=None, derandomize=True)
    @given(prefix=texts, text=texts)
    @example(prefix="a" + LAST, text="a" + LAST)
    def test_the_range_holds_the_texts_with_the_prefix_alone(self, prefix: str, text: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                'SELECT (t COLLATE "C") >= p AND (t COLLATE "C") < pcf_prefix_end(p) '
                "FROM (VALUES (%s, %s), (%s, %s)) AS v (t, p)",
                [text, prefix, prefix + text, prefix],
            )
            assert cursor.fetchall() == [(text.startswith(prefix),), (True,)]


def test_the_functions_depend_on_no_search_path() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL search_path = pg_catalog")
        cursor.execute("SELECT public.pcf_fold('É'), public.pcf_prefix_end('É')")
        assert cursor.fetchone() == ("e", "Ê")


def test_a_folded_column_follows_its_column() -> None:
    tag = Tag.objects.create(name="Été")
    assert tag.name_folded == "ete"
    Tag.objects.update(name="NOËL")
    tag.refresh_from_db()
    assert tag.name_folded == "noel"


def test_folded_columns_are_ordered_by_code_point() -> None:
    names = ["Zebra", "apple", "Éclair", "eclipse", "ždár", "1 a", "жук", "éa"]
    Tag.objects.bulk_create(Tag(name=name) for name in names)
    ordered = list(Tag.objects.order_by("name_folded").values_list("name_folded", flat=True))
    assert ordered == sorted(ordered)
    assert ordered[:3] == ["1 a", "apple", "ea"]


def test_expressions_find_by_equality_and_by_prefix() -> None:
    Tag.objects.bulk_create(Tag(name=name) for name in ["Éclair", "ECLAIR 2", "other"])
    assert Tag.objects.get(name_folded=Fold(Value("éCLAIR"))).name == "Éclair"
    prefix = Fold(Value("Écl"))
    found = Tag.objects.filter(name_folded__gte=prefix, name_folded__lt=PrefixEnd(prefix))
    assert found.count() == 2
