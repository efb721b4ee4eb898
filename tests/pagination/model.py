"""A plain model of connections in Python: what a filter and an order show of rows."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from functools import cmp_to_key
from typing import Any

# titles, and the same without regard to case and accents
TITLES = {
    "apple": "apple", "Apple": "apple", "Äpfel": "apfel", "Éclair": "eclair", "eclair au café":
    "eclair au cafe", "100%": "100%", "a_b": "a_b", "axb": "axb", "Zebra": "zebra", "ŻÓŁW": "zolw",
}  # fmt: skip
WORDS = ("alpha", "gamma", "delta", "zulu")  # no word is the stem of another


@dataclass(frozen=True)
class Row:
    """A note of the model."""

    key: int
    author: int
    title: str
    words: tuple[str, ...]
    is_public: bool
    created: datetime
    updated: datetime
    tags: frozenset[int]

    @property
    def folded(self) -> str:
        return TITLES[self.title]

    @property
    def indexed_words(self) -> list[str]:
        """The words that a search finds: of the title, and of the content."""
        return [*self.folded.replace("%", "").split(), *self.words]


def visible(rows: list[Row], viewer: Any) -> list[Row]:
    """Return the rows that the viewer may read."""
    return [row for row in rows if viewer.is_staff or row.is_public or row.author == viewer.id]


def matches(row: Row, filter_: dict[str, Any], names: dict[int, str]) -> bool:
    """Return whether all conditions of the filter hold for the row."""
    return all(_holds(row, name, value, names) for name, value in filter_.items())


def _holds(row: Row, name: str, value: Any, names: dict[int, str]) -> bool:
    if value is None:
        return True
    if name in {"and", "or", "not"}:
        several = value if name != "not" else [value]
        found = [matches(row, each, names) for each in several]
        return {"and": all, "or": any, "not": lambda each: not all(each)}[name](found)
    checks = {
        "id": lambda: _is_key(row.key, value),
        "authorId": lambda: _is_key(row.author, value),
        "isPublic": lambda: row.is_public is value,
        "title": lambda: all(_is_title(row.folded, *each) for each in value.items()),
        "createdAt": lambda: all(_is_time(row.created, *each) for each in value.items()),
        "updatedAt": lambda: all(_is_time(row.updated, *each) for each in value.items()),
        "tags": lambda: all(_has_tags(row, *each, names) for each in value.items()),
        "search": lambda: _is_found(row, value),
        "searchPrefix": lambda: all(
            any(word.startswith(part) for word in row.indexed_words) for part in value.split()
        ),
    }
    return checks[name]()


def _is_key(key: int, conditions: dict[str, Any]) -> bool:
    return all(
        str(key) == value if operator == "eq" else str(key) in value
        for operator, value in conditions.items()
    )


def fold(text: str) -> str:
    """Return a text of TITLES, or a part of one, without regard to case and accents."""
    pairs = zip("äéżółwÄÉŻÓŁW", "aezolwaezolw", strict=True)
    return text.lower().translate(str.maketrans(dict(pairs)))


def _is_title(folded: str, operator: str, value: Any) -> bool:
    match operator:
        case "eq":
            return folded == fold(value)
        case "in":
            return folded in map(fold, value)
        case "contains":
            return fold(value) in folded
    return folded.startswith(fold(value))


def _is_time(moment: datetime, operator: str, value: str) -> bool:
    other = datetime.fromisoformat(value)
    return {
        "gt": moment > other, "gte": moment >= other, "lt": moment < other, "lte": moment <= other,
    }[operator]  # fmt: skip


def _has_tags(row: Row, quantifier: str, chosen: dict[str, Any], names: dict[int, str]) -> bool:
    ((way, values),) = chosen.items()
    own = {str(key) for key in row.tags} if way == "ids" else {names[key] for key in row.tags}
    if quantifier == "all":
        return set(values) <= own
    return bool(set(values) & own) is (quantifier == "any")


def _is_found(row: Row, search: str) -> bool:
    """Return whether a search matches: words, ``-word``, or words around one ``or``."""
    return any(
        all(
            part[1:] not in row.words if part.startswith("-") else part in row.words
            for part in alternative.split()
        )
        for alternative in search.split(" or ")
    )


def ordered(rows: list[Row], terms: list[dict[str, str]], ranks: dict[int, float]) -> list[Row]:
    """Return the rows in the order of ``orderBy``; the default is the newest first."""
    terms = terms or [{"field": "CREATED_AT", "direction": "DESC"}]
    terms = [*terms, {"field": "ID", "direction": terms[-1]["direction"]}]

    def value(row: Row, field: str) -> Any:
        return {
            "ID": row.key,
            "CREATED_AT": row.created,
            "UPDATED_AT": row.updated,
            "TITLE": [ord(letter) for letter in row.folded],
            "RELEVANCE": ranks.get(row.key, 0.0),
        }[field]

    def compare(one: Row, other: Row) -> int:
        for term in terms:
            left, right = value(one, term["field"]), value(other, term["field"])
            if left != right:
                sign = -1 if left < right else 1
                return sign if term["direction"] == "ASC" else -sign
        return 0

    return sorted(rows, key=cmp_to_key(compare))


def facets(rows: list[Row], first: int) -> list[dict[str, Any]]:
    """Return the tags of the rows, those with the most rows first."""
    counts = Counter(tag for row in rows for tag in row.tags)
    items = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [{"tag": {"id": str(key)}, "count": count} for key, count in items[:first]]
