"""Install the extensions unaccent and pg_trgm, and the functions of pcf.database.fields."""

from django.db import migrations
from django.db.utils import DatabaseError

EXTENSIONS = ("unaccent", "pg_trgm")

# Lower case must not depend on the locale of the database. The first collation that exists serves.
COLLATIONS = ("pg_c_utf8", "und-x-icu", "C.utf8", "C.UTF-8")

# lower() of ICU writes the sigma at the end of a word in another way, so both become one letter.
# PostgreSQL parses the bodies now: neither function depends on the search_path of a session.
FUNCTIONS = r"""
CREATE FUNCTION pcf_fold(text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
    SELECT translate(
        lower({schema}.unaccent('{schema}.unaccent'::regdictionary, normalize($1, NFC))
              COLLATE pg_catalog."{collation}"),
        U&'\03C2', U&'\03C3');
END;
COMMENT ON FUNCTION pcf_fold(text) IS 'text without accents, in lower case';

CREATE FUNCTION pcf_prefix_end(text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE rtrim($1, chr(1114111))
        WHEN '' THEN $1 || repeat(chr(1114111), 1000)
        ELSE left(rtrim($1, chr(1114111)), -1)
             || chr(CASE ascii(right(rtrim($1, chr(1114111)), 1))
                    WHEN 55295 THEN 57344  -- behind U+D7FF come the surrogates
                    ELSE ascii(right(rtrim($1, chr(1114111)), 1)) + 1 END)
    END;
END;
COMMENT ON FUNCTION pcf_prefix_end(text) IS 'the smallest text behind all texts with this prefix';

CREATE FUNCTION pcf_search_text(text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
    SELECT regexp_replace(
        translate($1, '_@/~<', '     '), '[^\x01-\x20]{{64}}', '\& ', 'g');
END;
COMMENT ON FUNCTION pcf_search_text(text) IS 'text that the search parser reads in linear time';
"""

REVERSE_SQL = """
DROP FUNCTION IF EXISTS pcf_search_text(text);
DROP FUNCTION IF EXISTS pcf_prefix_end(text);
DROP FUNCTION IF EXISTS pcf_fold(text);
"""


def _install(apps, schema_editor):
    connection = schema_editor.connection
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        for name in EXTENSIONS:
            _create_extension(cursor, name)
        cursor.execute(
            "SELECT quote_ident(nspname) FROM pg_extension e JOIN pg_namespace n"
            " ON n.oid = e.extnamespace WHERE extname = 'unaccent'"
        )
        (schema,) = cursor.fetchone()
        cursor.execute(FUNCTIONS.format(schema=schema, collation=_collation(cursor)))


def _create_extension(cursor, name):
    cursor.execute("SELECT FROM pg_extension WHERE extname = %s", [name])
    if cursor.fetchone() is not None:
        return
    try:
        cursor.execute(f"CREATE EXTENSION {name}")
    except DatabaseError as error:
        raise DatabaseError(
            f"The extension {name} cannot be created: {error}. Debian has it in the package "
            "postgresql-contrib. The migration needs the right CREATE on the database. Or let a "
            f"superuser execute CREATE EXTENSION {name} in this database. Then run migrate again."
        ) from error


def _collation(cursor):
    cursor.execute(
        "SELECT collname FROM pg_collation WHERE collnamespace = 'pg_catalog'::regnamespace"
        " AND collencoding IN (-1, pg_char_to_encoding('UTF8'))"
        " AND pg_char_to_encoding(getdatabaseencoding()) = pg_char_to_encoding('UTF8')"
    )
    present = {name for (name,) in cursor.fetchall()}
    for name in COLLATIONS:
        if name in present:
            return name
    raise DatabaseError(
        "The database has no collation for lower case: it needs the encoding UTF8, and "
        f"one of {', '.join(COLLATIONS)} in pg_collation."
    )


def _remove(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(REVERSE_SQL)


class Migration(migrations.Migration):

    dependencies = [("pcf", "0001_initial")]

    operations = [migrations.RunPython(_install, _remove)]
