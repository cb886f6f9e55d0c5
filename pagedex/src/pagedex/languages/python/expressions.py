"""Expressions as rows of a file's program of names, and the names that they bind."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from pagedex.languages.python.definitions import Definitions
from pagedex.model.code import Binding, Bound, Code, Op, Scope
from pagedex.model.facts import Facts

UNKNOWN = 0
_MOST_ELEMENTS = 8
_LONGEST_QUOTED = 300


class Expressions:
    """Appends rows to ``facts.code``, whose scopes it opens; which statements they stand in is the builder's matter."""

    def __init__(self, facts: Facts, lines: list[str]) -> None:
        self.facts = facts
        self.lines = lines
        self.code = facts.code = Code(scopes=[Scope("module", -1, -1)])
        self.definitions = Definitions(facts, lines)
        self._texts: dict[str, int] = {}
        self._scope = 0
        self._within = -1
        self._generator = False  # whether the function being walked yields
        self._self = ""  # the first parameter of the method being walked
        self._class = -1  # the class whose method is being walked
        self._row(Op.UNKNOWN, 0, 0, "", 0, 0)
        self._on: dict[type, Callable[[Any], int]] = {
            ast.Name: self._name,
            ast.Attribute: self._attribute,
            ast.Call: self._call,
            ast.Subscript: self._subscript,
            ast.Constant: self._constant,
            ast.BinOp: self._operation,
            ast.BoolOp: self._bool_operation,
            ast.IfExp: self._if_expression,
            ast.Await: lambda node: self.expression(node.value),
            ast.Lambda: self._lambda,
            ast.NamedExpr: self._named_expression,
            ast.ListComp: self._comprehension,
            ast.SetComp: self._comprehension,
            ast.GeneratorExp: self._comprehension,
            ast.DictComp: self._comprehension,
            ast.Yield: self._yield,
            ast.YieldFrom: self._yield,
            ast.JoinedStr: lambda node: self._literal(node, "str"),
            ast.Dict: lambda node: self._literal(node, "dict"),
            ast.List: self._elements,
            ast.Set: self._elements,
            ast.Tuple: self._elements,
        }

    def _open(self, kind: str, definition: int) -> None:
        self.code.scopes.append(Scope(kind, self._scope, definition))
        self._scope = len(self.code.scopes) - 1
        self._within = definition

    # Targets and bindings

    def _bind(self, name: str, how: Bound, what: int, definition: int = -1) -> None:
        scope = self.code.scopes[self._scope]
        scope = self.code.scopes[scope.elsewhere.get(name, self._scope)]
        scope.names.setdefault(name, []).append(Binding(how, what, definition))

    def _target(self, target: ast.expr, how: Bound, what: int, value: ast.expr | None) -> None:
        if isinstance(target, ast.Name):
            scope = self.code.scopes[self._scope]
            definition = -1
            if scope.kind in ("module", "class"):
                definition = self._known(scope.names, target.id)
                if definition < 0 and target.id != "__all__":
                    definition = self.definitions.assigned(target, scope.kind, self._within, target, value)
                elif definition >= 0:
                    self._name(target)
            elif target.id in scope.elsewhere:
                self._name(target)
            self._bind(target.id, how, what, definition)
        elif isinstance(target, ast.Attribute):
            self._attribute(target)
            if isinstance(target.value, ast.Name) and target.value.id == self._self and self._class >= 0:
                attributes = self.code.classes[self._class].attributes
                known = self._known(attributes, target.attr)
                if known < 0:
                    body = self.code.scopes[self.code.classes[self._class].scope]
                    known = self._known(body.names, target.attr)
                if known < 0:
                    known = self.definitions.assigned(target, "class", self._class, target, value)
                attributes.setdefault(target.attr, []).append(Binding(how, what, known))
        elif isinstance(target, (ast.Tuple, ast.List)):
            for one in target.elts:
                self._target(one, Bound.UNKNOWN, UNKNOWN, None)
        elif isinstance(target, ast.Starred):
            self._target(target.value, Bound.UNKNOWN, UNKNOWN, None)
        else:
            self.expression(target)

    def _iterated(self, target: ast.expr, iterated: ast.expr, row: int) -> None:
        """Binds a loop's target. Of pairs, the second is followed: an element beside its number, a value beside its
        key."""
        if isinstance(target, ast.Tuple) and len(target.elts) == 2 and isinstance(iterated, ast.Call):
            called = iterated.func
            pairs = (isinstance(called, ast.Name) and called.id == "enumerate" and bool(iterated.args)) or (
                isinstance(called, ast.Attribute) and called.attr == "items"
            )
            if pairs:
                # The row of a call has its first argument; that of the method is looked up in the container.
                of = self.code.second[row] if isinstance(called, ast.Name) else row
                self._target(target.elts[0], Bound.UNKNOWN, UNKNOWN, None)
                self._target(target.elts[1], Bound.ELEMENT, of, None)
                return
        self._target(target, Bound.ELEMENT, row, None)

    @staticmethod
    def _known(names: dict[str, list[Binding]], name: str) -> int:
        return next((one.definition for one in names.get(name, ()) if one.definition >= 0), -1)

    # Expressions

    def expression(self, node: ast.expr) -> int:
        """The row of an expression; 0 for one that isn't followed. All names in it get their rows."""
        on = self._on.get(type(node))
        if on is not None:
            return on(node)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.expression(child)
            else:
                self._parts(child)
        return UNKNOWN

    def _parts(self, node: ast.AST) -> None:
        # Keywords, slices and clauses are no expressions, and hold some.
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.expression(child)
            else:
                self._parts(child)

    def _row(self, op: Op, first: int, second: int, name: str, line: int, column: int) -> int:
        code = self.code
        text = self._texts.get(name)
        if text is None:
            text = self._texts[name] = len(code.texts)
            code.texts.append(name)
        code.op.append(op)
        code.first.append(first)
        code.second.append(second)
        code.name.append(text)
        code.line.append(line)
        code.column.append(column)
        code.within.append(self._within)
        return len(code.op) - 1

    def _column(self, line: int, offset: int) -> int:
        # The tree counts bytes of UTF-8, people and pages count characters.
        text = self.lines[line - 1] if 0 < line <= len(self.lines) else ""
        return (
            offset if text.isascii() else len(text.encode("utf-8", "surrogatepass")[:offset].decode("utf-8", "ignore"))
        )

    def _name(self, node: ast.Name) -> int:
        return self._row(Op.NAME, self._scope, 0, node.id, node.lineno, self._column(node.lineno, node.col_offset))

    def _attribute(self, node: ast.Attribute) -> int:
        base = self.expression(node.value)
        line = node.end_lineno or node.lineno
        column = self._column(line, node.end_col_offset or 0) - len(node.attr)
        return self._row(Op.ATTRIBUTE, base, 0, node.attr, line, column)

    def _call(self, node: ast.Call) -> int:
        called = node.func
        name = called.id if isinstance(called, ast.Name) else called.attr if isinstance(called, ast.Attribute) else ""
        row = self.expression(called)
        if name == "cast" and len(node.args) == 2:
            typed = self.annotation(node.args[0])
            self.expression(node.args[1])
            return self._row(Op.TYPED, typed, 0, "", node.lineno, 0)
        arguments = [self.expression(one) for one in node.args]
        for keyword in node.keywords:
            self.expression(keyword.value)
        if name == "super" and isinstance(called, ast.Name) and self._class >= 0:
            return self._row(Op.SUPER, self._class, 0, "", node.lineno, 0)
        if name == "isinstance" and len(node.args) == 2 and isinstance(node.args[0], ast.Name):
            self._narrow(node.args[0].id, node.args[1], arguments[1])
        return self._row(Op.CALL, row, arguments[0] if arguments else UNKNOWN, "", node.lineno, 0)

    def _narrow(self, name: str, types: ast.expr, row: int) -> None:
        if not isinstance(types, ast.Tuple):
            self._bind_if_local(name, row)
            return
        for one in types.elts:
            # The tuple's names have their rows; these are for the meaning alone and stand nowhere.
            self._bind_if_local(name, self._silent(one))

    def _bind_if_local(self, name: str, row: int) -> None:
        bindings = self.code.scopes[self._scope].names.get(name)
        if bindings is not None:
            bindings.append(Binding(Bound.NARROWED, row))

    def _silent(self, node: ast.expr) -> int:
        """The row of a dotted name whose mention has a row already: it has no place."""
        if isinstance(node, ast.Name):
            return self._row(Op.NAME, self._scope, 0, node.id, 0, 0)
        if isinstance(node, ast.Attribute):
            return self._row(Op.ATTRIBUTE, self._silent(node.value), 0, node.attr, 0, 0)
        return UNKNOWN

    def _subscript(self, node: ast.Subscript) -> int:
        base = self.expression(node.value)
        return self._row(Op.ITEM, base, self._either(node.slice), "", node.lineno, 0)

    def _either(self, node: ast.expr) -> int:
        """A tuple's parts as alternatives: of a subscript, of what an except clause catches."""
        if not isinstance(node, ast.Tuple):
            return self.expression(node)
        row = UNKNOWN
        for one in node.elts:
            part = self.expression(one)
            row = self._row(Op.EITHER, row, part, "", node.lineno, 0) if row else part
        return row

    def _constant(self, node: ast.Constant) -> int:
        return self._row(Op.LITERAL, 0, 0, type(node.value).__name__, node.lineno, 0)

    def _literal(self, node: ast.expr, kind: str) -> int:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.expression(child)
        return self._row(Op.LITERAL, 0, 0, kind, node.lineno, 0)

    def _elements(self, node: ast.List | ast.Tuple | ast.Set) -> int:
        """A list, tuple or set that is written out: worth its first elements to whoever iterates over it."""
        rows = [self.expression(one) for one in node.elts]
        row = UNKNOWN
        for part in dict.fromkeys(rows[:_MOST_ELEMENTS]):
            row = self._row(Op.EITHER, row, part, "", node.lineno, 0) if row else part
        return self._row(Op.LITERAL, 0, row, type(node).__name__.lower(), node.lineno, 0)

    def _operation(self, node: ast.BinOp) -> int:
        # A long sum nests to the left: it is unrolled, so that its length isn't a depth.
        right = []
        left: ast.expr = node
        while isinstance(left, ast.BinOp):
            right.append((left.right, isinstance(left.op, ast.BitOr)))
            left = left.left
        row = self.expression(left)
        for one, is_or in reversed(right):
            part = self.expression(one)
            # X | None is a type; what other operations give isn't followed.
            row = self._row(Op.EITHER, row, part, "", node.lineno, 0) if is_or else UNKNOWN
        return row

    def _bool_operation(self, node: ast.BoolOp) -> int:
        row = self.expression(node.values[0])
        for one in node.values[1:]:
            row = self._row(Op.EITHER, row, self.expression(one), "", node.lineno, 0)
        return row

    def _if_expression(self, node: ast.IfExp) -> int:
        self.expression(node.test)
        return self._row(Op.EITHER, self.expression(node.body), self.expression(node.orelse), "", node.lineno, 0)

    def _lambda(self, node: ast.Lambda) -> int:
        for default in (*node.args.defaults, *(one for one in node.args.kw_defaults if one is not None)):
            self.expression(default)
        outer, within = self._scope, self._within
        self._open("function", within)
        for argument in parameters(node.args):
            self._bind(argument.arg, Bound.UNKNOWN, UNKNOWN)
        self.expression(node.body)
        self._scope = outer
        return UNKNOWN

    def _named_expression(self, node: ast.NamedExpr) -> int:
        value = self.expression(node.value)
        inner = self._scope
        while self.code.scopes[self._scope].kind == "comprehension":
            self._scope = self.code.scopes[self._scope].parent
        self._target(node.target, Bound.VALUE, value, node.value)
        self._scope = inner
        return value

    def _comprehension(self, node: Any) -> int:
        first = self.expression(node.generators[0].iter)
        outer = self._scope
        self._open("comprehension", self._within)
        for index, generator in enumerate(node.generators):
            iterated = first if index == 0 else self.expression(generator.iter)
            self._iterated(generator.target, generator.iter, iterated)
            for condition in generator.ifs:
                self.expression(condition)
        if isinstance(node, ast.DictComp):
            self.expression(node.key)
            self.expression(node.value)
        else:
            self.expression(node.elt)
        self._scope = outer
        return self._row(Op.LITERAL, 0, 0, "list", node.lineno, 0)

    def _yield(self, node: ast.Yield | ast.YieldFrom) -> int:
        self._generator = True
        if node.value is not None:
            self.expression(node.value)
        return UNKNOWN

    # Annotations

    def annotation(self, node: ast.expr) -> int:
        """The row of a type; one in quotes is read as what it quotes, with its names where they stand."""
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            return self._with_quoted(node)
        if len(node.value) > _LONGEST_QUOTED or "\n" in node.value:
            return UNKNOWN
        try:
            quoted = ast.parse(node.value, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return UNKNOWN
        for one in ast.walk(quoted):
            if isinstance(one, ast.expr):
                one.lineno = one.end_lineno = node.lineno
                one.col_offset += node.col_offset + 1
                one.end_col_offset = (one.end_col_offset or 0) + node.col_offset + 1
        return self._with_quoted(quoted)

    def _with_quoted(self, node: ast.expr) -> int:
        # List["Shard"], Optional["Shard"]: what stands in brackets may be quoted by itself; Literal["a"] isn't a type.
        if isinstance(node, ast.Subscript):
            base = self.expression(node.value)
            name = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
            if name == "Literal":
                return UNKNOWN
            parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            row = UNKNOWN
            for part in parts:
                inner = self.annotation(part)
                row = self._row(Op.EITHER, row, inner, "", node.lineno, 0) if row else inner
            return self._row(Op.ITEM, base, row, "", node.lineno, 0)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return self._row(Op.EITHER, self.annotation(node.left), self.annotation(node.right), "", node.lineno, 0)
        return self.expression(node)


def parameters(arguments: ast.arguments) -> list[ast.arg]:
    """A function's parameters, in their order."""
    found = [*arguments.posonlyargs, *arguments.args]
    if arguments.vararg:
        found.append(arguments.vararg)
    found += arguments.kwonlyargs
    if arguments.kwarg:
        found.append(arguments.kwarg)
    return found
