"""Measuring a parsed document against the limits, before anything expensive is done with it."""

from collections.abc import Iterator
from dataclasses import dataclass

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
)

from pcf.config import Documents
from pcf.documents.scan import too_large
from pcf.errors import ClientError

VISITS = 4  # selections looked at for each field that may be selected: fragments are looked at, too


@dataclass(frozen=True, slots=True)
class Measure:
    """``depth`` of nested fields and ``complexity``: selected fields, fragments expanded.

    ``visits`` counts selections of every kind, fragments expanded: what a walk has to look at.
    """

    depth: int
    complexity: int
    visits: int = 0


_NOTHING = Measure(0, 0)


class FragmentCycle(ClientError):
    """A fragment spreads itself, directly or by others (specification section 5.5.2.2)."""

    code = "GRAPHQL_VALIDATION_FAILED"


class _Measurer:
    """Measures selection sets. Every fragment is measured once, so nesting fragments in fragments
    costs no more time than they have text.
    """

    def __init__(self, document: DocumentNode) -> None:
        self._fragments = {
            node.name.value: node
            for node in document.definitions
            if isinstance(node, FragmentDefinitionNode)
        }
        self._measured: dict[str, Measure] = {}
        self._open: set[str] = set()  # being measured, or measured

    def measure(self, selection_set: SelectionSetNode | None) -> Measure:
        """The measure of what is selected; recursion is bounded by the nesting of the text."""
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
            if name in self._open:
                raise FragmentCycle(f"Cannot spread fragment '{name}' within itself.")
            self._open.add(name)
            fragment = self._fragments.get(name)
            known = self.measure(fragment.selection_set if fragment else None)
            self._measured[name] = known
        return known

    def check_fragments(self) -> None:
        """Raise FragmentCycle also for fragments that no operation spreads."""
        for name in self._fragments:
            self._fragment(name)


def operations_of(document: DocumentNode) -> Iterator[OperationDefinitionNode]:
    """The operations among the definitions of ``document``."""
    for node in document.definitions:
        if isinstance(node, OperationDefinitionNode):
            yield node


def measure(
    document: DocumentNode, limits: Documents
) -> list[tuple[OperationDefinitionNode, Measure]]:
    """The measure of every operation of ``document``.

    Raises DocumentTooLarge when one of them is deeper than ``limits`` allow, or all together
    select more fields: all of them are validated, whichever is executed. Raises FragmentCycle,
    which validation would find later, and at length.
    """
    measurer = _Measurer(document)
    measurer.check_fragments()
    measures: list[tuple[OperationDefinitionNode, Measure]] = []
    complexity = visits = 0
    for node in operations_of(document):
        result = measurer.measure(node.selection_set)
        if result.depth > limits.max_depth:
            raise too_large("depth", limits.max_depth, "levels of fields")
        complexity += result.complexity
        visits += result.visits
        if complexity > limits.max_complexity or visits > VISITS * limits.max_complexity:
            raise too_large("complexity", limits.max_complexity, "fields, fragments expanded")
        measures.append((node, result))
    return measures
