"""Measuring a document against the limits, before anything expensive is done with it."""

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
from pcf.errors import ClientError


class DocumentTooLarge(ClientError):
    """A document exceeds one of the limits."""

    code = "DOCUMENT_TOO_LARGE"


@dataclass(frozen=True, slots=True)
class Measure:
    """``depth`` of nested fields and ``complexity``: selected fields, fragments expanded."""

    depth: int
    complexity: int


_NOTHING = Measure(0, 0)


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

    def measure(self, selection_set: SelectionSetNode | None) -> Measure:
        """The measure of what is selected; recursion is bounded by the parser's token limit."""
        depth = complexity = 0
        for selection in selection_set.selections if selection_set else ():
            if isinstance(selection, FieldNode):
                inner = self.measure(selection.selection_set)
                inner = Measure(inner.depth + 1, inner.complexity + 1)
            elif isinstance(selection, InlineFragmentNode):
                inner = self.measure(selection.selection_set)
            elif isinstance(selection, FragmentSpreadNode):
                inner = self._fragment(selection.name.value)
            else:
                inner = _NOTHING
            depth = max(depth, inner.depth)
            complexity += inner.complexity
        return Measure(depth, complexity)

    def _fragment(self, name: str) -> Measure:
        known = self._measured.get(name)
        if known is None:
            self._measured[name] = _NOTHING  # a cycle counts nothing here; validation refuses it
            fragment = self._fragments.get(name)
            known = self.measure(fragment.selection_set if fragment else None)
            self._measured[name] = known
        return known


def measure(
    document: DocumentNode, limits: Documents
) -> list[tuple[OperationDefinitionNode, Measure]]:
    """The measure of every operation of ``document``.

    Raises DocumentTooLarge when one of them is deeper or more complex than ``limits`` allow.
    """
    measurer = _Measurer(document)
    measures: list[tuple[OperationDefinitionNode, Measure]] = []
    for node in document.definitions:
        if not isinstance(node, OperationDefinitionNode):
            continue
        result = measurer.measure(node.selection_set)
        if result.depth > limits.max_depth:
            raise DocumentTooLarge(
                f"The document nests {result.depth} fields deep; {limits.max_depth} are allowed"
            )
        if result.complexity > limits.max_complexity:
            raise DocumentTooLarge(
                f"The document selects {result.complexity} fields; "
                f"{limits.max_complexity} are allowed"
            )
        measures.append((node, result))
    return measures
