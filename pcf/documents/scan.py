"""Counting what a text consists of, without parsing it: the refusals that cost next to nothing.

A text is split into tokens by one regular expression, as the lexical grammar says (specification
section 2.1). That is some fifty times faster than parsing it, and most hostile documents are
hostile in ways that can be counted: too long, too many tokens, aliases, directives or fragments,
nested too deeply. What is counted here is exact for every text that parses.
"""

import re
from collections import Counter
from functools import lru_cache
from itertools import accumulate, pairwise

from graphql import GraphQLSchema

from pcf.config import Documents
from pcf.errors import LimitExceeded

# Possessive quantifiers (++, *+) never go back, so the time is linear in the text's length.
_BLANK = r"[\t\n\r ,\ufeff]*+"
_COMMENT = r"\#[^\n\r]*+"
_BLOCK_STRING = r'"""(?:[^"\\]|\\"""|\\|"(?!""))*+"""'
_STRING = r'"(?:[^"\\\n\r]|\\[^\n\r])*+"'
_UNENDED = r'"[\s\S]*+'  # the rest of the text, which no lexer reads
_NUMBER = r"-?[0-9]++(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?"
_NAME = r"[_A-Za-z][_0-9A-Za-z]*+"
_OTHER = r"\.\.\.|[^\t\n\r ,\ufeff\#]"
_TOKEN = re.compile(
    f'{_BLANK}(?:({_BLOCK_STRING}|(?!""")(?:{_STRING})|{_UNENDED}|{_NAME}|{_NUMBER}|{_COMMENT}'
    f"|{_OTHER})|\\Z)"
)
NESTING = 4  # braces for each level of fields: conditions and fragments on types nest, too


class DocumentTooLarge(LimitExceeded):
    """A document exceeds one of the limits."""

    code = "DOCUMENT_TOO_LARGE"


def too_large(limit: str, allowed: int, what: str) -> DocumentTooLarge:
    """The refusal of a document with more ``what`` than ``allowed``."""
    return DocumentTooLarge(limit, allowed, f"The document has more than {allowed} {what}")


def check_text(text: str, limits: Documents, known: frozenset[str] = frozenset()) -> None:
    """Raise DocumentTooLarge when the text alone shows that a document is beyond ``limits``.

    ``known`` are the names that a schema has, as ``names_of`` collects them. Says nothing about a
    text that is no document; parsing it will.
    """
    if len(text) > limits.max_characters:
        raise too_large("characters", limits.max_characters, "characters")
    found = _TOKEN.findall(text)
    if len(found) > limits.max_tokens + 1:  # and the empty match at the end
        raise too_large("tokens", limits.max_tokens, "tokens and comments")
    tokens = _without_comments(found)
    if tokens.count("@") > limits.max_directives:
        raise too_large("directives", limits.max_directives, "directives")
    variables = {name for mark, name in pairwise(tokens) if mark == "$"}
    if len(variables) > limits.max_variables:
        raise too_large("variables", limits.max_variables, "variables")
    _check_places(tokens, limits, known)


@lru_cache(maxsize=4)
def names_of(schema: GraphQLSchema) -> frozenset[str]:
    """What a document may name outside of parentheses: types, fields, directives, keywords."""
    names = {"query", "mutation", "subscription", "fragment", "on", "__typename", "__schema"}
    names |= {"__type", *schema.type_map, *(directive.name for directive in schema.directives)}
    for kind in schema.type_map.values():
        names.update(getattr(kind, "fields", ()))
    return frozenset(names)


def split(text: str) -> list[str]:
    """The tokens of ``text`` without what the grammar ignores.

    Ends where a string does not, since nothing after that is a token.
    """
    return _without_comments(_TOKEN.findall(text))


def _without_comments(found: list[str]) -> list[str]:
    return [lexeme for lexeme in found if lexeme and lexeme[0] != "#"]


def _check_places(tokens: list[str], limits: Documents, known: frozenset[str]) -> None:
    """What depends on where a token stands: between parentheses are values, elsewhere fields."""
    selections, values = _by_place(tokens)
    if selections.count(":") > limits.max_aliases:
        raise too_large("aliases", limits.max_aliases, "aliases")
    depths = _depths(selections)
    definitions = [word for word, depth in zip(selections, depths, strict=True) if not depth]
    if definitions.count("fragment") > limits.max_fragments:
        raise too_large("fragments", limits.max_fragments, "fragments")
    unknown = {word for word in selections if word[0] not in _NO_NAME} - known
    if len(unknown) > limits.max_unknown_names:
        raise too_large(
            "unknown_names", limits.max_unknown_names, "names that the schema does not have"
        )
    if max(_depths(values), default=0) > limits.max_value_depth:
        raise too_large("value_depth", limits.max_value_depth, "levels in one value")
    if max(depths, default=0) > NESTING * limits.max_depth:
        raise too_large("depth", limits.max_depth, "levels of fields")
    if _most_repeated(selections) > limits.max_repeats + limits.max_aliases:
        raise too_large("repeats", limits.max_repeats, "times the same field at one place")


def _most_repeated(tokens: list[str]) -> int:
    """How often the same field stands between the same braces, or an alias of that name."""
    counts: Counter[tuple[int, str]] = Counter()
    places = [0]
    before = ""
    for index, lexeme in enumerate(tokens, start=1):
        if lexeme == "{":
            places.append(index)
        elif lexeme == "}":
            places = places[:-1] or [0]
        elif len(places) > 1 and before not in _NO_FIELD_AFTER and lexeme not in _NO_FIELD:
            counts[places[-1], lexeme] += 1
        before = lexeme
    return max(counts.values(), default=0)


def _by_place(tokens: list[str]) -> tuple[list[str], list[str]]:
    """The tokens outside of parentheses, and those inside."""
    places: tuple[list[str], list[str]] = [], []
    open_parentheses = 0
    for lexeme in tokens:
        if lexeme == "(":
            open_parentheses += 1
        elif lexeme == ")":
            open_parentheses -= 1
        else:
            places[open_parentheses > 0].append(lexeme)
    return places


def _depths(tokens: list[str]) -> list[int]:
    """How many brackets and braces are open at each token."""
    return list(accumulate(_STEPS.get(lexeme, 0) for lexeme in tokens))


_NO_NAME = frozenset('0123456789-."!$&():=@[]{|}')
_NO_FIELD_AFTER = frozenset({"...", "on", "@"})
_NO_FIELD = frozenset({":", "...", "@", "on"})
_STEPS = {"{": 1, "[": 1, "}": -1, "]": -1}
