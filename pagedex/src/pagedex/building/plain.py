"""A file's facts as JSON and back: what the cache holds. Nothing in it is run when it is read."""

from __future__ import annotations

import base64
import json
from array import array
from typing import Any

from pagedex.model.code import Binding, Bound, Class, Code, Function, Scope
from pagedex.model.facts import Definition, Facts, Finding, Import, Problem, Reference

_ARRAYS = ("first", "second", "name", "line", "column", "within")


def to_json(facts: Facts) -> bytes:
    """Facts as JSON. Dataclasses are lists of their fields' values in order."""
    return json.dumps(_facts(facts), separators=(",", ":")).encode("ascii")


def from_json(content: bytes) -> Facts:
    """The facts that ``to_json`` gave.

    Raises:
        ValueError, TypeError, KeyError, IndexError: it gave something else.
    """
    return _facts_from(json.loads(content))


def _facts(one: Facts) -> list[Any]:
    return [
        one.language,
        one.lexer,
        one.doc,
        one.doc_line,
        [_values(definition) for definition in one.definitions],
        [_values(imported) for imported in one.imports],
        [_values(reference) for reference in one.references],
        one.identifiers,
        one.words,
        [_values(finding) for finding in one.findings],
        one.looked_for,
        [_values(problem) for problem in one.problems],
        one.exports,
        _code(one.code) if one.code is not None else None,
    ]


def _facts_from(plain: list[Any]) -> Facts:
    (
        language,
        lexer,
        doc,
        doc_line,
        definitions,
        imports,
        references,
        identifiers,
        words,
        findings,
        looked_for,
        problems,
    ) = plain[:12]
    exports, code = plain[12:]
    facts = Facts(
        language,
        lexer,
        doc,
        doc_line,
        [_definition(values) for values in definitions],
        [Import(*values) for values in imports],
        [Reference(*values) for values in references],
        {name: tuple(lines) for name, lines in identifiers.items()},
        {word: tuple(lines) for word, lines in words.items()},
        [Finding(*values) for values in findings],
        {section: tuple(topics) for section, topics in looked_for.items()},
        [Problem(*values) for values in problems],
        tuple(exports) if exports is not None else None,
        _code_from(code) if code is not None else None,
    )
    return facts


def _values(one: Any) -> list[Any]:
    return [getattr(one, name) for name in one.__slots__]


def _definition(values: list[Any]) -> Definition:
    one = Definition(*values)
    one.decorators, one.bases, one.labels = tuple(one.decorators), tuple(one.bases), tuple(one.labels)
    one.raises = tuple((what, line) for what, line in one.raises)
    return one


def _code(one: Code) -> dict[str, Any]:
    return {
        "scopes": [
            [scope.kind, scope.parent, scope.definition, _bindings(scope.names), scope.elsewhere, scope.stars]
            for scope in one.scopes
        ],
        "functions": [[index, *_values(function)] for index, function in one.functions.items()],
        "classes": [
            [index, found.scope, found.bases, _bindings(found.attributes)] for index, found in one.classes.items()
        ],
        "texts": one.texts,
        "op": _packed(one.op),
        **{name: _packed(getattr(one, name).tobytes()) for name in _ARRAYS},
    }


def _code_from(plain: dict[str, Any]) -> Code:
    code = Code(
        [
            Scope(kind, parent, definition, _bindings_from(names), elsewhere, stars)
            for kind, parent, definition, names, elsewhere, stars in plain["scopes"]
        ],
        {
            index: Function(scope, returns, tuple(results), kind, generator)
            for index, scope, returns, results, kind, generator in plain["functions"]
        },
        {index: Class(scope, tuple(bases), _bindings_from(names)) for index, scope, bases, names in plain["classes"]},
        plain["texts"],
        bytearray(base64.b64decode(plain["op"])),
    )
    for name in _ARRAYS:
        values = array("i")
        values.frombytes(base64.b64decode(plain[name]))
        setattr(code, name, values)
    return code


def _packed(content: bytes | bytearray) -> str:
    return base64.b64encode(content).decode("ascii")


def _bindings(names: dict[str, list[Binding]]) -> dict[str, list[tuple[int, int, int]]]:
    return {name: [(int(one.how), one.what, one.definition) for one in bindings] for name, bindings in names.items()}


def _bindings_from(plain: dict[str, list[list[int]]]) -> dict[str, list[Binding]]:
    return {
        name: [Binding(_BOUND[how], what, definition) for how, what, definition in bindings]
        for name, bindings in plain.items()
    }


_BOUND = {int(one): one for one in Bound}
