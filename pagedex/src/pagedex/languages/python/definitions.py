"""Definitions as pages show them: signature, docstring, decorators and what these say of it."""

from __future__ import annotations

import ast
import inspect
import re

from pagedex.model.facts import Definition, Facts

_LONGEST_SIGNATURE = 2000
_LONGEST_VALUE = 160

# What a decorator's last name says of the function or class below it.
_SAID_BY_DECORATOR = {
    "staticmethod": ("staticmethod",),
    "classmethod": ("classmethod",),
    "property": ("property",),
    "cached_property": ("property", "cached"),
    "abstractproperty": ("property", "abstract"),
    "abstractmethod": ("abstract",),
    "overload": ("overload",),
    "final": ("final",),
    "override": ("override",),
    "dataclass": ("dataclass",),
    "contextmanager": ("context manager",),
    "asynccontextmanager": ("context manager",),
    "lru_cache": ("cached",),
    "cache": ("cached",),
    "singledispatch": ("dispatches by type",),
    "setter": ("property", "setter"),
    "getter": ("property",),
    "deleter": ("property", "deleter"),
    "deprecated": ("deprecated",),
    "runtime_checkable": ("protocol",),
    "total_ordering": ("ordered",),
}
_SAID_BY_BASE = {
    "ABC": "abstract",
    "Protocol": "protocol",
    "Enum": "enum",
    "IntEnum": "enum",
    "StrEnum": "enum",
    "Flag": "enum",
    "IntFlag": "enum",
    "NamedTuple": "namedtuple",
    "TypedDict": "typeddict",
}


class Definitions:
    """Appends to ``facts.definitions`` and gives the index of what it appended."""

    def __init__(self, facts: Facts, lines: list[str]) -> None:
        self._all = facts.definitions
        self._lines = lines

    def function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, parent: int, around: str) -> int:
        labels = _labels(node.decorator_list)
        if isinstance(node, ast.AsyncFunctionDef):
            labels.append("async")
        kind = "function"
        if around == "class":
            kind = "property" if "property" in labels else "method"
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        keyword = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
        signature = f"{keyword} {node.name}({ast.unparse(node.args)}){returns}"
        return self._add(node, kind, parent, labels, signature, around)

    def class_(self, node: ast.ClassDef, parent: int) -> int:
        labels = _labels(node.decorator_list)
        arguments = [ast.unparse(base) for base in node.bases]
        for base in arguments:
            said = _SAID_BY_BASE.get(base.partition("[")[0].rpartition(".")[2])
            if said and said not in labels:
                labels.append(said)
        keywords = [
            f"{one.arg}={ast.unparse(one.value)}" if one.arg else f"**{ast.unparse(one.value)}" for one in node.keywords
        ]
        if "metaclass=ABCMeta" in (one.replace("abc.", "") for one in keywords):
            labels.append("abstract")
        inside = f"({', '.join([*arguments, *keywords])})" if arguments or keywords else ""
        index = self._add(node, "class", parent, labels, f"class {node.name}{inside}", "")
        self._all[index].bases = tuple(arguments)
        return index

    def assigned(
        self, target: ast.Name | ast.Attribute, around: str, parent: int, place: ast.AST, value: ast.expr | None
    ) -> int:
        """A constant, variable or attribute, which its first assignment defines."""
        name = target.id if isinstance(target, ast.Name) else target.attr
        kind = "type" if around == "type" else "constant" if name.isupper() else "variable"
        if around == "class" and parent >= 0:
            kind = "member" if "enum" in self._all[parent].labels else "constant" if name.isupper() else "attribute"
        line = target.end_lineno or target.lineno
        text = self._lines[line - 1] if line <= len(self._lines) else ""
        column = max(text.find(name, _characters(text, target.col_offset if isinstance(target, ast.Name) else 0)), 0)
        return self._append(
            Definition(
                name=name,
                qualname=self._qualname(name, parent),
                kind=kind,
                line=line,
                end_line=(value.end_lineno if value is not None else None) or line,
                column=column,
                value=self._text_of(value) if value is not None else "",
                parent=parent,
                public=self._is_public(name, parent),
            )
        )

    def raises(self, index: int, raised: ast.expr) -> None:
        what = raised.func if isinstance(raised, ast.Call) else raised
        if isinstance(raised, ast.Name) and raised.id[:1].islower():
            return  # a variable, which holds whatever it holds
        if isinstance(what, (ast.Name, ast.Attribute)):
            self._all[index].raises = (*self._all[index].raises, (ast.unparse(what), raised.lineno))

    def _add(
        self,
        node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef,
        kind: str,
        parent: int,
        labels: list[str],
        signature: str,
        around: str,
    ) -> int:
        doc, doc_line = docstring(node)
        text = self._lines[node.lineno - 1] if node.lineno <= len(self._lines) else ""
        # "def" and "class" come before the name, which they may contain.
        keyword = re.compile(r"(?:async\s+)?(?:def|class)\s+").match(text, _characters(text, node.col_offset))
        return self._append(
            Definition(
                name=node.name,
                qualname=self._qualname(node.name, parent),
                kind=kind,
                line=node.lineno,
                end_line=node.end_lineno or node.lineno,
                column=keyword.end() if keyword else 0,
                signature=signature[:_LONGEST_SIGNATURE],
                doc=doc,
                doc_line=doc_line,
                decorators=tuple(ast.unparse(one) for one in node.decorator_list),
                labels=tuple(labels),
                parent=parent,
                public=around != "function" and self._is_public(node.name, parent),
            )
        )

    def _append(self, definition: Definition) -> int:
        self._all.append(definition)
        return len(self._all) - 1

    def _qualname(self, name: str, parent: int) -> str:
        return f"{self._all[parent].qualname}.{name}" if parent >= 0 else name

    def _is_public(self, name: str, parent: int) -> bool:
        if parent >= 0 and (not self._all[parent].public or self._all[parent].kind in ("function", "method")):
            return False
        return not name.startswith("_") or (name.startswith("__") and name.endswith("__"))

    def _text_of(self, node: ast.expr) -> str:
        line, last = node.lineno, node.end_lineno or node.lineno
        if not 0 < line <= len(self._lines):
            return ""
        if line == last:
            text = self._lines[line - 1].encode("utf-8", "surrogatepass")[node.col_offset : node.end_col_offset]
            value = text.decode("utf-8", "replace")
        else:
            value = ast.unparse(node)
        return value if len(value) <= _LONGEST_VALUE else value[:_LONGEST_VALUE] + " …"


def docstring(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module) -> tuple[str, int]:
    """The docstring without its indentation, and the line of its first line that isn't blank; ("", 0) without one."""
    raw = ast.get_docstring(node, clean=False)
    if raw is None or not raw.strip():
        return "", 0
    blank = len(raw) - len(raw.lstrip())
    return inspect.cleandoc(raw), node.body[0].lineno + raw[:blank].count("\n")


def _labels(decorators: list[ast.expr]) -> list[str]:
    found: list[str] = []
    for decorator in decorators:
        what = decorator.func if isinstance(decorator, ast.Call) else decorator
        name = what.attr if isinstance(what, ast.Attribute) else getattr(what, "id", "")
        found += (label for label in _SAID_BY_DECORATOR.get(name, ()) if label not in found)
    return found


def _characters(text: str, offset: int) -> int:
    return offset if text.isascii() else len(text.encode("utf-8", "surrogatepass")[:offset].decode("utf-8", "ignore"))
