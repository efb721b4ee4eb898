"""Limits of a document: those counted in the text before parsing, and its depth and complexity.

Before parsing, one regular expression splits a text into tokens by the lexical grammar
(specification section 2.1), in a fraction of the time of parsing. Most hostile documents exceed a
limit that can be counted: characters, tokens, directives, variables, aliases, fragments, unknown
names, nesting of values. The counts are exact for every text that parses. Depth and repetitions are
counted there, too, but coarsely.

``measure`` measures depth and complexity after parsing and before validation. Then
``pcf.documents.selection`` counts repetitions, root fields and lists.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
)

from pcf.conf.sections import DocumentSettings
from pcf.errors import ClientError, LimitExceeded

# Possessive quantifiers (++, *+) never backtrack, so the time is linear in the text's length.
# Before Python 3.11.5 they are wrong for a group whose alternatives have several characters
# (CPython issue 106052). So the groups are not possessive. One alternative at most fits at each
# place, and the time is linear all the same.
_BLANK = r"[\t\n\r ,\ufeff]*+"
_COMMENT = r"\#[^\n\r]*+"
_BLOCK_STRING = r'"""(?:[^"\\]++|\\"""|\\(?!""")|"(?!""))*"""'
_STRING = r'"(?:[^"\\\n\r]++|\\[^\n\r])*"'
_UNTERMINATED = r'"[\s\S]*+'  # a string without an end takes the rest of the text
_NUMBER = r"-?[0-9]++(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?"
_NAME = r"[_A-Za-z][_0-9A-Za-z]*+"
_OTHER = r"\.\.\.|[^\t\n\r ,\ufeff\#]"
_TOKEN = re.compile(
    f'{_BLANK}(?:({_BLOCK_STRING}|(?!""")(?:{_STRING})|{_UNTERMINATED}|{_NAME}|{_NUMBER}|{_COMMENT}'
    f"|{_OTHER})|\\Z)"
)
BRACES_PER_LEVEL = 4  # braces allowed for each level of fields; inline fragments have braces, too


class DocumentTooLarge(LimitExceeded):
    """A document exceeds one of the limits."""

    code = "DOCUMENT_TOO_LARGE"


def too_large(limit: str, allowed: int, what: str) -> DocumentTooLarge:
    """Return the error of a document that has more than ``allowed`` ``what``."""
    return DocumentTooLarge(limit, allowed, f"The document has more than {allowed} {what}")


def check_text(text: str, limits: DocumentSettings, known: frozenset[str] = frozenset()) -> None:
    """Raise DocumentTooLarge when the tokens of ``text`` exceed ``limits``.

    ``known`` holds the names of the schema, as ``schema_names`` returns them. The function does not
    look for syntax errors; the parser does.
    """
    if len(text) > limits.max_characters:
        raise too_large("characters", limits.max_characters, "characters")
    found = _TOKEN.findall(text)
    if len(found) > limits.max_tokens + 1:  # one more for the empty match at the end
        raise too_large("tokens", limits.max_tokens, "tokens and comments")
    tokens = _without_comments(found)
    if tokens.count("@") > limits.max_directives:
        raise too_large("directives", limits.max_directives, "directives")
    variables = {name for sigil, name in pairwise(tokens) if sigil == "$"}
    if len(variables) > limits.max_variables:
        raise too_large("variables", limits.max_variables, "variables")
    _check_structure(tokens, limits, known)


@lru_cache(maxsize=4)
def schema_names(schema: GraphQLSchema) -> frozenset[str]:
    """Return the names that a document can use outside of parentheses: types, fields, directives,
    keywords.
    """
    names = {"query", "mutation", "subscription", "fragment", "on", "__typename", "__schema"}
    names |= {"__type", *schema.type_map, *(directive.name for directive in schema.directives)}
    for type_ in schema.type_map.values():
        names.update(getattr(type_, "fields", ()))
    return frozenset(names)


def tokenize(text: str) -> list[str]:
    """Return the tokens of ``text``, without the ignored tokens of the grammar.

    A string without an end is the last token.
    """
    return _without_comments(_TOKEN.findall(text))


def _without_comments(found: list[str]) -> list[str]:
    return [lexeme for lexeme in found if lexeme and lexeme[0] != "#"]


def _check_structure(tokens: list[str], limits: DocumentSettings, known: frozenset[str]) -> None:
    """Check the limits that depend on the place of a token.

    Tokens in parentheses are values, tokens outside of them are selections.
    """
    selections, values = _split_by_parentheses(tokens)
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
    if max(depths, default=0) > BRACES_PER_LEVEL * limits.max_depth:
        raise too_large("depth", limits.max_depth, "levels of fields")
    # A field behind an alias counts here, too, but is no repetition; ``selection`` counts exactly.
    if _most_repeated(selections) > limits.max_repeats + limits.max_aliases:
        raise too_large("repeats", limits.max_repeats, "times the same field at one place")


def _most_repeated(tokens: list[str]) -> int:
    """Return the largest number of equal field names (or aliases) between the same braces."""
    counts: Counter[tuple[int, str]] = Counter()
    braces = [0]
    previous = ""
    for index, lexeme in enumerate(tokens, start=1):
        if lexeme == "{":
            braces.append(index)
        elif lexeme == "}":
            braces = braces[:-1] or [0]
        elif len(braces) > 1 and previous not in _NO_FIELD_AFTER and lexeme not in _NO_FIELD:
            counts[braces[-1], lexeme] += 1
        previous = lexeme
    return max(counts.values(), default=0)


def _split_by_parentheses(tokens: list[str]) -> tuple[list[str], list[str]]:
    """Return the tokens outside of parentheses, and those inside."""
    parts: tuple[list[str], list[str]] = [], []
    open_parentheses = 0
    for lexeme in tokens:
        if lexeme == "(":
            open_parentheses += 1
        elif lexeme == ")":
            open_parentheses -= 1
        else:
            parts[open_parentheses > 0].append(lexeme)
    return parts


def _depths(tokens: list[str]) -> list[int]:
    """Return the number of open brackets and braces at each token."""
    return list(accumulate(_STEPS.get(lexeme, 0) for lexeme in tokens))


_NO_NAME = frozenset('0123456789-."!$&():=@[]{|}')
_NO_FIELD_AFTER = frozenset({"...", "on", "@"})
_NO_FIELD = frozenset({":", "...", "@", "on"})
_STEPS = {"{": 1, "[": 1, "}": -1, "]": -1}


# A document may have this many times ``max_complexity`` selections. Spreads and inline fragments
# count as selections, too.
VISITS_PER_FIELD = 4


@dataclass(frozen=True, slots=True)
class Measure:
    """The size of a selection set with all fragments expanded.

    ``depth`` is the number of nested fields, ``complexity`` the number of fields. ``visits`` is the
    number of selections of any kind, fragments included: the work of a walk through all of them.
    """

    depth: int
    complexity: int
    visits: int = 0


_NOTHING = Measure(0, 0)


class FragmentCycle(ClientError):
    """A fragment spreads itself, directly or indirectly (specification section 5.5.2.2)."""

    code = "GRAPHQL_VALIDATION_FAILED"


class _Measurer:
    """The measures of the selection sets of one document.

    The measurer measures each fragment once. So its time grows with the text, not with the expanded
    fragments.
    """

    def __init__(self, document: DocumentNode) -> None:
        self._fragments = {
            node.name.value: node
            for node in document.definitions
            if isinstance(node, FragmentDefinitionNode)
        }
        self._measured: dict[str, Measure] = {}
        self._begun: set[str] = set()  # fragments whose measure is known or in progress

    def measure(self, selection_set: SelectionSetNode | None) -> Measure:
        """Return the measure of ``selection_set``.

        The recursion is bounded, since ``check_text`` has limited braces, fragments and tokens.
        """
        depth = complexity = visits = 0
        for selection in selection_set.selections if selection_set else ():
            visits += 1
            if isinstance(selection, FieldNode):
                inner = self.measure(selection.selection_set)
                inner = Measure(inner.depth + 1, inner.complexity + 1, inner.visits)
            elif isinstance(selection, InlineFragmentNode):
                inner = self.measure(selection.selection_set)
            elif isinstance(selection, FragmentSpreadNode):
                inner = self._fragment(selection.name.value)
            else:
                inner = _NOTHING
            depth = max(depth, inner.depth)
            complexity += inner.complexity
            visits += inner.visits
        return Measure(depth, complexity, visits)

    def _fragment(self, name: str) -> Measure:
        known = self._measured.get(name)
        if known is None:
            if name in self._begun:
                raise FragmentCycle(f"Cannot spread fragment '{name}' within itself.")
            self._begun.add(name)
            fragment = self._fragments.get(name)
            known = self.measure(fragment.selection_set if fragment else None)
            self._measured[name] = known
        return known

    def check_fragments(self) -> None:
        """Raise FragmentCycle for any cycle, even of fragments that no operation spreads."""
        for name in self._fragments:
            self._fragment(name)


def _operations_of(document: DocumentNode) -> Iterator[OperationDefinitionNode]:
    for node in document.definitions:
        if isinstance(node, OperationDefinitionNode):
            yield node


def measure(
    document: DocumentNode, limits: DocumentSettings
) -> list[tuple[OperationDefinitionNode, Measure]]:
    """Return the measure of each operation of ``document``.

    Raises DocumentTooLarge when one operation is too deep, or when all operations together select
    too many fields, because validation walks through the fields of all operations. Raises
    FragmentCycle; validation would find the cycle later and at a higher cost.
    """
    measurer = _Measurer(document)
    measurer.check_fragments()
    measures: list[tuple[OperationDefinitionNode, Measure]] = []
    complexity = visits = 0
    for node in _operations_of(document):
        result = measurer.measure(node.selection_set)
        if result.depth > limits.max_depth:
            raise too_large("depth", limits.max_depth, "levels of fields")
        complexity += result.complexity
        visits += result.visits
        if complexity > limits.max_complexity or visits > VISITS_PER_FIELD * limits.max_complexity:
            raise too_large("complexity", limits.max_complexity, "fields, fragments expanded")
        measures.append((node, result))
    return measures
