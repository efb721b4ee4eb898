"""Fields and constraints for the models of an app; they hold for every way of writing.

**Text without regard to case and accents** (``folded``). A migration of the engine installs the SQL
functions ``pcf_fold`` and ``pcf_prefix_end``. A model keeps the folded text of a column in a
generated column. The collation of that column is "C", so PostgreSQL orders folded texts by code
point, on every machine. A B-tree index of the column serves orders, equality and prefixes. A GIN
index with ``gin_trgm_ops`` serves ``contains``.

    class Book(models.Model):
        title = models.CharField(max_length=200)
        title_folded = folded("title")

    Book.objects.filter(title_folded=Fold(Value("resume")))  # finds "Résumé"

**Names that are unique without regard to case**: ``UniqueConstraint(CaseFold("name"), name=...)``.

**Full text search** (``search_vector``). A vector is a generated column. A configuration
(``define_configuration``) is a copy of one that the database has, with the dictionary ``unaccent``
in front of the dictionaries for words. ``ts_headline`` still marks the original text.

PostgreSQL's parser looks behind every word for an address, a path, a tag of HTML. Its time grows
with the square of the length of some texts: 100,000 characters of ``a_a_a_`` take minutes. So each
text goes through ``SearchText`` first: the words that are stored, the text of a query, and the text
in which ``ts_headline`` marks words.

**Times within Python's range** (``time_in_range``) are a constraint.
"""

from datetime import UTC, datetime
from typing import Any

from django.contrib.postgres.search import SearchVectorField
from django.db.models import CheckConstraint, Expression, Field, Func, GeneratedField, Q, TextField
from psycopg.sql import SQL, Identifier

COLLATION = "C"


class Fold(Func):
    """The text without accents, in lower case. Two texts that fold alike count as the same word.

    The function is immutable. It removes accents by the rules of the extension ``unaccent``.
    """

    function = "pcf_fold"
    arity = 1
    output_field = TextField(db_collation=COLLATION)


class CaseFold(Func):
    """The text in NFC and in lower case, for names that are unique without regard to case.

    The function is immutable, and does not depend on the locale of the database.
    """

    function = "pcf_lower"
    arity = 1
    output_field = TextField(db_collation=COLLATION)


class PrefixEnd(Func):
    """The smallest text behind all texts that begin with the argument, by code point.

    So ``text >= prefix AND text < PrefixEnd(prefix)`` are the texts with the prefix. A prefix of
    nothing but U+10FFFF has no such text; the function then adds 1,000 more of this character.
    """

    function = "pcf_prefix_end"
    arity = 1
    output_field = TextField(db_collation=COLLATION)


def folded(name: str) -> GeneratedField:
    """Return a generated column with the folded text of the column ``name``."""
    return GeneratedField(
        expression=Fold(name),
        output_field=TextField(db_collation=COLLATION),
        db_persist=True,
    )


# the tokens of PostgreSQL's parser that may have letters with accents
_ACCENTED = {"word", "hword", "hword_part", "numword", "numhword", "hword_numpart"}

_EXISTS = """
SELECT FROM pg_catalog.pg_ts_config WHERE cfgname = %s
  AND pg_catalog.pg_ts_config_is_visible(oid)
"""
_UNACCENT = """
SELECT d.oid::pg_catalog.regdictionary::pg_catalog.text
FROM pg_catalog.pg_ts_dict d JOIN pg_catalog.pg_extension e ON e.extnamespace = d.dictnamespace
WHERE d.dictname = 'unaccent' AND e.extname = 'unaccent'
"""
# every kind of token, with its dictionaries; none for a kind that the configuration leaves out
_TOKENS = """
SELECT t.alias, pg_catalog.array_agg(
    m.mapdict::pg_catalog.regdictionary::pg_catalog.text ORDER BY m.mapseqno
) FILTER (WHERE m.mapdict IS NOT NULL)
FROM pg_catalog.pg_ts_config c
CROSS JOIN LATERAL pg_catalog.ts_token_type(c.cfgparser) t
LEFT JOIN pg_catalog.pg_ts_config_map m ON m.mapcfg = c.oid AND m.maptokentype = t.tokid
WHERE c.oid = %s::pg_catalog.regconfig GROUP BY t.alias ORDER BY t.alias
"""


class SearchText(Func):
    """The text as PostgreSQL's parser reads it in linear time.

    The function replaces each of ``_@/~<`` by a space. It puts a space behind 64 characters without
    one. Words, numbers and names of hosts stay.
    """

    function = "pcf_search_text"
    arity = 1
    output_field = TextField()


class SearchVectorColumn(GeneratedField):
    """A generated column with a search vector. An INSERT does not return its value."""

    db_returning = False  # type: ignore[assignment]


def search_vector(expression: Expression) -> SearchVectorColumn:
    """Return a generated column with the search vector that ``expression`` computes."""
    return SearchVectorColumn(
        expression=expression, output_field=SearchVectorField(), db_persist=True
    )


def is_search_vector(field: "Field[Any, Any]") -> bool:
    """Return whether the column of ``field`` holds search vectors, which no response shows."""
    return isinstance(getattr(field, "output_field", field), SearchVectorField)


def define_configuration(cursor: Any, name: str, source: str) -> None:
    """Create the text search configuration ``name``, or change it: a copy of ``source``.

    Call it in a transaction. Vectors that are stored do not change. Raises ProgrammingError when
    the database has no configuration ``source``.
    """
    cursor.execute(_EXISTS, [name])
    if cursor.fetchone() is None:
        cursor.execute(_statement("CREATE TEXT SEARCH CONFIGURATION {} (PARSER = default)", name))
    cursor.execute(_UNACCENT)
    (unaccent,) = cursor.fetchone()
    cursor.execute(_TOKENS, [source])
    for token, dictionaries in cursor.fetchall():
        change = "ALTER TEXT SEARCH CONFIGURATION {} "
        cursor.execute(_statement(f"{change} DROP MAPPING IF EXISTS FOR {{}}", name, token))
        if dictionaries is not None:
            wanted = [unaccent] * (token in _ACCENTED) + dictionaries
            added = f"{change} ADD MAPPING FOR {{}} WITH {', '.join(wanted)}"
            cursor.execute(_statement(added, name, token))


def _statement(template: str, *names: str) -> str:
    """Return ``template`` with quoted names in place of its braces."""
    return SQL(template).format(*map(Identifier, names)).as_string(None)


# A day within Python's range on either side, so that the time exists in every time zone.
EARLIEST = datetime(1, 1, 2, tzinfo=UTC)
LATEST = datetime(9999, 12, 31, tzinfo=UTC)


def time_in_range(field: str, name: str) -> CheckConstraint:
    """Return a constraint that keeps the times of ``field`` within Python's range.

    PostgreSQL also stores ``infinity``, ``-infinity`` and years from 4713 BC to 294276 AD. Python
    cannot read them, so one such row would make every page with it an error. NULL is allowed.
    """
    return CheckConstraint(
        condition=Q((f"{field}__gte", EARLIEST), (f"{field}__lt", LATEST)),
        name=name,
        violation_error_message="This time is out of range: the years 1 to 9999 are stored.",
    )
