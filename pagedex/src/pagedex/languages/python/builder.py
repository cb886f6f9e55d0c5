"""The syntax tree of a file as definitions, imports and a program of names.

One pass over the tree. Bodies are walked where they stand: what a name means is looked up later, when every binding of
its scope is known, so the order of statements doesn't matter.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from typing import Any

from pagedex.languages.python.expressions import UNKNOWN, Expressions, parameters
from pagedex.model.code import Bound, Class, Function, Op
from pagedex.model.facts import Facts, Import

_MOST_RESULTS = 4


class Builder(Expressions):
    """Fills ``facts.definitions``, ``facts.imports`` and ``facts.code`` from a tree's statements."""

    def __init__(self, facts: Facts, lines: list[str]) -> None:
        super().__init__(facts, lines)
        self._typing_only = False
        self._results: list[int] = []  # of the function being walked
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
            ast.Expr: self._expression_alone,
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

    def _expression_alone(self, node: ast.Expr) -> None:
        self.expression(node.value)

    def statements(self, body: Iterable[ast.stmt]) -> None:
        for statement in body:
            do = self._do.get(type(statement))
            if do is None:
                self._others(statement)
            else:
                do(statement)

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
                self._bind(name, Bound.UNKNOWN, UNKNOWN)

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
        returns = self.annotation(node.returns) if node.returns else UNKNOWN
        in_class = scope.kind == "class"
        kind = "function"
        if in_class:
            kind = next(
                (one for one in ("staticmethod", "classmethod", "property") if one in definition.labels), "method"
            )
            if node.name == "__new__":
                kind = "classmethod"
        outer = (self._scope, self._within, self._results, self._generator, self._self, self._class)
        annotated = [(one, self._annotation_of(one)) for one in parameters(arguments)]
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
                self._bind(argument.arg, Bound.UNKNOWN, UNKNOWN)
            elif annotation:
                self._bind(argument.arg, Bound.ANNOTATION, annotation)
            else:
                self._bind(argument.arg, Bound.UNKNOWN, UNKNOWN)
            first = False
        self.statements(node.body)
        function.results = tuple(self._results[:_MOST_RESULTS])
        function.generator = self._generator
        if self._generator:
            definition.labels = (*definition.labels, "generator")
        self._scope, self._within, self._results, self._generator, self._self, self._class = outer

    def _annotation_of(self, argument: ast.arg) -> int:
        return self.annotation(argument.annotation) if argument.annotation else UNKNOWN

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
        value = self.expression(node.value) if node.value else UNKNOWN
        # "X: TypeAlias = Y" names Y anew.
        alias = "TypeAlias" in ast.dump(node.annotation) if value else False
        self._target(
            node.target, Bound.VALUE if alias else Bound.ANNOTATION, value if alias else annotation, node.value
        )

    def _augmented(self, node: ast.AugAssign) -> None:
        self.expression(node.value)
        self.expression(node.target)
        if isinstance(node.target, ast.Name):
            self._bind(node.target.id, Bound.UNKNOWN, UNKNOWN)
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
            caught = self._either(handler.type) if handler.type is not None else UNKNOWN
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


def _is_type_checking(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    return name == "TYPE_CHECKING"
