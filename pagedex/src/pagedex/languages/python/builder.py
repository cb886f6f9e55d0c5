"""The syntax tree of a file as definitions, imports and a program of names.

One pass over the tree. Bodies are walked where they stand: what a name means is looked up later, when every binding of
its scope is known, so the order of statements doesn't matter.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from typing import Any

from pagedex.languages.python.definitions import Definitions
from pagedex.model.code import Binding, Bound, Class, Code, Function, Op, Scope
from pagedex.model.facts import Facts, Import

_UNKNOWN = 0
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_MOST_RESULTS = 4
_MOST_ELEMENTS = 8
_LONGEST_QUOTED = 300


class Builder:
    """Fills ``facts.definitions``, ``facts.imports`` and ``facts.code`` from a tree."""

    def __init__(self, facts: Facts, lines: list[str]) -> None:
        self.facts = facts
        self.lines = lines
        self.code = facts.code = Code(scopes=[Scope("module", -1, -1)])
        self.definitions = Definitions(facts, lines)
        self._texts: dict[str, int] = {}
        self._scope = 0
        self._within = -1
        self._typing_only = False
        self._results: list[int] = []  # of the function being walked
        self._generator = False
        self._self: str = ""  # the first parameter of the method being walked
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
        self._do: dict[type, Callable[[Any], None]] = {
            ast.FunctionDef: self._function,
            ast.AsyncFunctionDef: self._function,
            ast.ClassDef: self._class_definition,
            ast.Import: self._import,
            ast.ImportFrom: self._import_from,
            ast.Assign: self._assign,
            ast.AnnAssign: self._annotated,
            ast.AugAssign: self._augmented,
            ast.Return: self._return,
            ast.Raise: self._raise,
            ast.Expr: lambda node: self._just(node.value),
            ast.If: self._if,
            ast.For: self._for,
            ast.AsyncFor: self._for,
            ast.With: self._with,
            ast.AsyncWith: self._with,
            ast.Try: self._try,
            ast.Global: self._elsewhere,
            ast.Nonlocal: self._elsewhere,
        }
        if hasattr(ast, "TryStar"):
            self._do[ast.TryStar] = self._try
        if hasattr(ast, "TypeAlias"):
            self._do[ast.TypeAlias] = self._type_alias

    # Statements

    def statements(self, body: Iterable[ast.stmt]) -> None:
        for statement in body:
            do = self._do.get(type(statement))
            if do is None:
                self._others(statement)
            else:
                do(statement)

    def _just(self, node: ast.expr) -> None:
        self.expression(node)

    def _others(self, node: ast.AST) -> None:
        # raise, assert, del, while, match: all that is in them, in order; patterns of match bind names.
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.expression(child)
            elif isinstance(child, ast.stmt):
                self.statements((child,))
            else:
                self._others(child)
        for field in ("name", "rest"):
            if isinstance(name := getattr(node, field, None), str):
                self._bind(name, Bound.UNKNOWN, _UNKNOWN)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for decorator in node.decorator_list:
            self.expression(decorator)
        scope = self.code.scopes[self._scope]
        index = self.definitions.function(node, self._within, scope.kind)
        definition = self.facts.definitions[index]
        self._bind(node.name, Bound.DEFINITION, index)
        arguments = node.args
        for default in (*arguments.defaults, *(one for one in arguments.kw_defaults if one is not None)):
            self.expression(default)
        returns = self.annotation(node.returns) if node.returns else _UNKNOWN
        in_class = scope.kind == "class"
        kind = "function"
        if in_class:
            kind = next(
                (one for one in ("staticmethod", "classmethod", "property") if one in definition.labels), "method"
            )
            if node.name == "__new__":
                kind = "classmethod"
        outer = (self._scope, self._within, self._results, self._generator, self._self, self._class)
        annotated = [(one, self._annotation_of(one)) for one in _parameters(arguments)]
        self._open("function", index)
        self.code.functions[index] = function = Function(self._scope, returns, kind=kind)
        self._results, self._generator = [], False
        first = True
        for argument, annotation in annotated:
            if first and in_class and kind != "staticmethod" and argument not in arguments.kwonlyargs:
                how = Bound.CLASS if kind == "classmethod" else Bound.SELF
                self._bind(argument.arg, how, scope.definition)
                self._self, self._class = argument.arg, scope.definition
            elif argument in (arguments.vararg, arguments.kwarg):
                self._bind(argument.arg, Bound.UNKNOWN, _UNKNOWN)
            elif annotation:
                self._bind(argument.arg, Bound.ANNOTATION, annotation)
            else:
                self._bind(argument.arg, Bound.UNKNOWN, _UNKNOWN)
            first = False
        self.statements(node.body)
        function.results = tuple(self._results[:_MOST_RESULTS])
        function.generator = self._generator
        if self._generator:
            definition.labels = (*definition.labels, "generator")
        self._scope, self._within, self._results, self._generator, self._self, self._class = outer

    def _annotation_of(self, argument: ast.arg) -> int:
        return self.annotation(argument.annotation) if argument.annotation else _UNKNOWN

    def _class_definition(self, node: ast.ClassDef) -> None:
        for decorator in node.decorator_list:
            self.expression(decorator)
        bases = tuple(self.expression(base) for base in node.bases)
        for keyword in node.keywords:
            self.expression(keyword.value)
        index = self.definitions.class_(node, self._within)
        self._bind(node.name, Bound.DEFINITION, index)
        outer = (self._scope, self._within)
        self._open("class", index)
        self.code.classes[index] = Class(self._scope, bases)
        self.statements(node.body)
        self._scope, self._within = outer

    def _open(self, kind: str, definition: int) -> None:
        self.code.scopes.append(Scope(kind, self._scope, definition))
        self._scope = len(self.code.scopes) - 1
        self._within = definition

    def _import(self, node: ast.Import) -> None:
        for alias in node.names:
            line, column = alias.lineno, self._column(alias.lineno, alias.col_offset)
            index = self._imported(Import(line, alias.name, alias=alias.asname or "", column=column))
            self._bind(alias.asname or alias.name.partition(".")[0], Bound.IMPORT, index)

    def _import_from(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            line, column = alias.lineno, self._column(alias.lineno, alias.col_offset)
            index = self._imported(
                Import(line, node.module or "", alias.name, alias.asname or "", node.level, column=column)
            )
            if alias.name == "*":
                self.code.scopes[self._scope].stars.append(index)
            else:
                self._row(Op.IMPORTED, index, 0, alias.name, line, column)
                self._bind(alias.asname or alias.name, Bound.IMPORT, index)

    def _imported(self, one: Import) -> int:
        one.typing_only = self._typing_only
        one.top = self.code.scopes[self._scope].kind == "module"
        self.facts.imports.append(one)
        return len(self.facts.imports) - 1

    def _assign(self, node: ast.Assign) -> None:
        value = self.expression(node.value)
        for target in node.targets:
            self._target(target, Bound.VALUE, value, node.value)
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets):
            self._exports(node.value)

    def _annotated(self, node: ast.AnnAssign) -> None:
        annotation = self.annotation(node.annotation)
        value = self.expression(node.value) if node.value else _UNKNOWN
        # "X: TypeAlias = Y" names Y anew.
        alias = "TypeAlias" in ast.dump(node.annotation) if value else False
        self._target(
            node.target, Bound.VALUE if alias else Bound.ANNOTATION, value if alias else annotation, node.value
        )

    def _augmented(self, node: ast.AugAssign) -> None:
        self.expression(node.value)
        self.expression(node.target)
        if isinstance(node.target, ast.Name):
            self._bind(node.target.id, Bound.UNKNOWN, _UNKNOWN)
            if node.target.id == "__all__":
                self._exports(node.value)

    def _type_alias(self, node: Any) -> None:
        value = self.annotation(node.value)
        index = self.definitions.assigned(node.name, "type", self._within, node, node.value)
        self._bind(node.name.id, Bound.VALUE, value, index)

    def _exports(self, node: ast.expr) -> None:
        for one in ast.walk(node):
            if isinstance(one, ast.Constant) and isinstance(one.value, str) and one.value.isidentifier():
                line = one.lineno
                self._row(Op.EXPORTED, 0, 0, one.value, line, self._column(line, one.col_offset) + 1)

    def _return(self, node: ast.Return) -> None:
        if node.value is not None:
            self._results.append(self.expression(node.value))

    def _raise(self, node: ast.Raise) -> None:
        if node.exc is not None:
            self.expression(node.exc)
            if self._within >= 0:
                self.definitions.raises(self._within, node.exc)
        if node.cause is not None:
            self.expression(node.cause)

    def _if(self, node: ast.If) -> None:
        while True:
            self.expression(node.test)
            before = self._typing_only
            self._typing_only = before or _is_type_checking(node.test)
            self.statements(node.body)
            self._typing_only = before
            # A chain of elif is walked without going deeper.
            if len(node.orelse) != 1 or not isinstance(node.orelse[0], ast.If):
                break
            node = node.orelse[0]
        self.statements(node.orelse)

    def _for(self, node: ast.For | ast.AsyncFor) -> None:
        self._iterated(node.target, node.iter, self.expression(node.iter))
        self.statements(node.body)
        self.statements(node.orelse)

    def _with(self, node: ast.With | ast.AsyncWith) -> None:
        for item in node.items:
            entered = self.expression(item.context_expr)
            if item.optional_vars is not None:
                self._target(item.optional_vars, Bound.ENTERED, entered, None)
        self.statements(node.body)

    def _try(self, node: Any) -> None:
        self.statements(node.body)
        for handler in node.handlers:
            caught = self._either(handler.type) if handler.type is not None else _UNKNOWN
            if handler.name:
                self._bind(handler.name, Bound.ANNOTATION, caught)
            self.statements(handler.body)
        self.statements(node.orelse)
        self.statements(node.finalbody)

    def _elsewhere(self, node: ast.Global | ast.Nonlocal) -> None:
        scope = self.code.scopes[self._scope]
        for name in node.names:
            meant = 0
            if isinstance(node, ast.Nonlocal):
                meant = scope.parent
                while meant > 0 and (
                    self.code.scopes[meant].kind == "class" or name not in self.code.scopes[meant].names
                ):
                    meant = self.code.scopes[meant].parent
            scope.elsewhere[name] = max(meant, 0)

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
                self._target(one, Bound.UNKNOWN, _UNKNOWN, None)
        elif isinstance(target, ast.Starred):
            self._target(target.value, Bound.UNKNOWN, _UNKNOWN, None)
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
                self._target(target.elts[0], Bound.UNKNOWN, _UNKNOWN, None)
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
            elif isinstance(child, ast.AST):
                self._others(child)
        return _UNKNOWN

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
        return self._row(Op.CALL, row, arguments[0] if arguments else _UNKNOWN, "", node.lineno, 0)

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
        return _UNKNOWN

    def _subscript(self, node: ast.Subscript) -> int:
        base = self.expression(node.value)
        return self._row(Op.ITEM, base, self._either(node.slice), "", node.lineno, 0)

    def _either(self, node: ast.expr) -> int:
        """A tuple's parts as alternatives: of a subscript, of what an except clause catches."""
        if not isinstance(node, ast.Tuple):
            return self.expression(node)
        row = _UNKNOWN
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
        row = _UNKNOWN
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
            row = self._row(Op.EITHER, row, part, "", node.lineno, 0) if is_or else _UNKNOWN
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
        for argument in _parameters(node.args):
            self._bind(argument.arg, Bound.UNKNOWN, _UNKNOWN)
        self.expression(node.body)
        self._scope = outer
        return _UNKNOWN

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
        return _UNKNOWN

    # Annotations

    def annotation(self, node: ast.expr) -> int:
        """The row of a type; one in quotes is read as what it quotes, with its names where they stand."""
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            return self._with_quoted(node)
        if len(node.value) > _LONGEST_QUOTED or "\n" in node.value:
            return _UNKNOWN
        try:
            quoted = ast.parse(node.value, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return _UNKNOWN
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
                return _UNKNOWN
            parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            row = _UNKNOWN
            for part in parts:
                inner = self.annotation(part)
                row = self._row(Op.EITHER, row, inner, "", node.lineno, 0) if row else inner
            return self._row(Op.ITEM, base, row, "", node.lineno, 0)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return self._row(Op.EITHER, self.annotation(node.left), self.annotation(node.right), "", node.lineno, 0)
        return self.expression(node)


def _parameters(arguments: ast.arguments) -> list[ast.arg]:
    found = [*arguments.posonlyargs, *arguments.args]
    if arguments.vararg:
        found.append(arguments.vararg)
    found += arguments.kwonlyargs
    if arguments.kwarg:
        found.append(arguments.kwarg)
    return found


def _is_type_checking(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    return name == "TYPE_CHECKING"
