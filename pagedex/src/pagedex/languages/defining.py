"""From the nodes of a file to its definitions and imports: who stands in whom, and with which comment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pagedex.languages.comments import Comments
from pagedex.languages.nodes import Found, Grammar, Scope, Tree, last_row
from pagedex.model.facts import Definition, Import

if TYPE_CHECKING:
    from tree_sitter import Node

LONGEST_SIGNATURE = 300
LONGEST_VALUE = 200

_FUNCTIONS = frozenset({"function", "method", "macro"})


def define(
    grammar: Grammar, tree: Tree, nodes: Sequence[Node], comments: Comments
) -> tuple[list[Definition], list[Import]]:
    """The definitions and imports that a grammar's handlers find in ``nodes``, in the order of the source."""
    definitions: list[Definition] = []
    imports: list[Import] = []
    scopes = [Scope(end=len(tree.data) + 1, start=0, row=0)]
    wrappers, closures = frozenset(grammar.wrappers), frozenset(grammar.closures)
    for node in sorted(nodes, key=lambda one: (one.start_byte, -one.end_byte)):
        start = node.start_byte
        while scopes[-1].end <= start:
            scopes.pop()
        around = scopes[-1]
        kind = node.type
        if around.local and kind in grammar.local:
            continue
        if kind in wrappers:
            # Go's "const ( ... )" is around many: none of them begins with it.
            if node.child_count > 1 and node.children[1].type == "(":
                continue
            outermost = (around.start, around.row) if around.wrapper else tree.beginning(node)
            scopes.append(around.wrapping(node.end_byte, *outermost))
            continue
        if kind in closures:
            scopes.append(around.closure(node.end_byte))
            continue
        for one in list(grammar.handlers[kind](tree, node, scopes)):
            if isinstance(one, Import):
                one.top = not around.local
                imports.append(one)
                continue
            definition = _definition(grammar, tree, one, around, comments)
            # A name that the parser misses is none.
            if not definition.name:
                continue
            definitions.append(definition)
            # What a handler finds further inside has nothing in it that is asked for.
            if one.whole == node:
                scopes.append(_scope(one, definition, len(definitions) - 1, around))
    return definitions, imports


def _scope(found: Found, definition: Definition, index: int, around: Scope) -> Scope:
    return Scope(
        end=found.whole.end_byte,
        start=found.whole.start_byte,
        row=found.whole.start_point[0],
        kind=definition.kind,
        name=definition.name,
        index=index,
        qualname=definition.qualname,
        public=definition.public,
        local=around.local or definition.kind in _FUNCTIONS,
        open=found.open,
    )


def _definition(grammar: Grammar, tree: Tree, found: Found, around: Scope, comments: Comments) -> Definition:
    whole = found.whole
    start, row = (around.start, around.row) if around.wrapper else tree.beginning(whole)
    end_row = last_row(whole)
    place = whole if isinstance(found.name, str) else found.name
    name = found.name if isinstance(found.name, str) else tree.of(found.name)
    # On its parent's line the comment above is the parent's.
    doc, doc_line = comments.above(row) if around.wrapper or around.index < 0 or around.row != row else ("", 0)
    if not doc:
        doc, doc_line = comments.beside(end_row)
    return Definition(
        name=name,
        qualname=grammar.separator.join(part for part in (around.qualname, found.scope, name) if part),
        kind=found.kind,
        line=place.start_point[0] + 1,
        end_line=max(end_row, place.start_point[0]) + 1,
        column=tree.column(place),
        signature=_signature(tree, start, whole, found.body),
        doc=doc,
        doc_line=doc_line,
        decorators=found.decorators,
        bases=found.bases,
        labels=found.labels,
        value=_bounded(found.value, LONGEST_VALUE),
        parent=around.index,
        public=found.public and around.public,
    )


def _signature(tree: Tree, start: int, whole: Node, body: Node | None) -> str:
    end = whole.end_byte if body is None else body.start_byte
    # What is cut off isn't decoded either: an array's initializer may have megabytes.
    text = tree.slice(start, min(end, start + 8 * LONGEST_SIGNATURE))
    return _bounded(text.rstrip("{;,= "), LONGEST_SIGNATURE)


def _bounded(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
