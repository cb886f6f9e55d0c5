"""JavaScript and TypeScript, with JSX and TSX.

Found: classes and their methods and fields, functions, generators, variables and constants of the file, functions
that are held by them, methods of objects, functions given to ``exports.name`` and ``Class.prototype.name``; of
TypeScript also interfaces, types, enums, namespaces, abstract classes and what is only declared; imports, ``export
... from``, ``require`` and ``import()`` of a literal. Public is what doesn't begin with ``_`` or ``#`` and isn't
``private`` or ``protected``. Not found: locals, what patterns take apart, functions that are only given to others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pagedex.languages.contract import Language
from pagedex.languages.looks import ANYWHERE, Look, Looks
from pagedex.languages.nodes import Found, Grammar, Handler, Scope, Tree, word_set
from pagedex.languages.trees import read_tree
from pagedex.model.facts import Facts, Import

if TYPE_CHECKING:
    from tree_sitter import Node

_KINDS = {
    "class_declaration": "class",
    "abstract_class_declaration": "class",
    "function_declaration": "function",
    "generator_function_declaration": "function",
    "function_signature": "function",
    "method_definition": "method",
    "method_signature": "method",
    "abstract_method_signature": "method",
    "public_field_definition": "member",
    "field_definition": "member",
    "property_signature": "member",
    "interface_declaration": "interface",
    "type_alias_declaration": "type",
    "enum_declaration": "enum",
    "internal_module": "namespace",
    "module": "namespace",
}
_FUNCTIONS = frozenset({"arrow_function", "function_expression", "generator_function"})
_CLASS_KINDS = frozenset({"class", "interface", "enum"})
_LABELS = frozenset({"static", "async", "get", "set", "abstract", "readonly", "override", "declare", "*"})
_HEADS = frozenset({"class_heritage", "extends_clause", "implements_clause", "extends_type_clause"})
_NO_BASE = frozenset({"type_arguments", "extends_clause", "implements_clause"})


def _public(name: str) -> bool:
    return not name.startswith(("_", "#"))


def _definition(tree: Tree, node: Node, scopes: list[Scope]) -> Iterator[Found]:
    name = node.child_by_field_name("name") or node.child_by_field_name("property")
    around = scopes[-1]
    kind = _KINDS[node.type]
    if name is None or (node.type == "method_definition" and around.local and around.kind not in _CLASS_KINDS):
        return
    labels: list[str] = []
    decorators: list[str] = []
    hidden = False
    for child in node.children:
        if child.start_byte >= name.start_byte:
            break
        if child.type == "accessibility_modifier":
            hidden = tree.of(child) != "public"
        elif child.type == "decorator":
            decorators.append(tree.of(child).lstrip("@"))
        elif child.type in _LABELS or child.type == "override_modifier":
            labels.append({"*": "generator", "override_modifier": "override"}.get(child.type, child.type))
    if node.type == "abstract_class_declaration" and "abstract" not in labels:
        labels.append("abstract")
    if node.type == "generator_function_declaration" and "generator" not in labels:
        labels.append("generator")
    value = node.child_by_field_name("value")
    if kind == "member" and value is not None and value.type in _FUNCTIONS:
        kind = "method"
    elif kind == "method" and "get" in labels:
        kind = "property"
    text = tree.of(name).strip("\"'")
    yield Found(
        kind,
        text if name.type == "string" else name,
        node,
        node.child_by_field_name("body") or (value if kind != "type" else None),
        labels=tuple(labels),
        bases=tuple(_bases(tree, node)),
        decorators=tuple(decorators),
        value=tree.of(value) if kind == "constant" else "",
        public=_public(text) and not hidden,
    )


def _bases(tree: Tree, node: Node) -> Iterator[str]:
    pending = [child for child in node.named_children if child.type in _HEADS]
    while pending:
        head = pending.pop(0)
        pending.extend(child for child in head.named_children if child.type in _HEADS)
        yield from (tree.of(child) for child in head.named_children if child.type not in _NO_BASE)


def _variable(tree: Tree, node: Node, scopes: list[Scope]) -> Iterator[Found | Import]:
    """What ``const``, ``let`` and ``var`` define: what holds a function or a class is one."""
    name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
    if (
        name is None
        or name.type != "identifier"
        or (value is not None and tree.data.startswith(b"require(", value.start_byte))
    ):
        return
    kind, body = "variable", value
    around = scopes[-1]
    head = tree.data[around.start : min(node.start_byte, around.start + 40)].split() if around.wrapper else []
    labels: tuple[str, ...] = ()
    if value is not None and value.type in _FUNCTIONS:
        kind, body = "function", value.child_by_field_name("body")
        labels = tuple(child.type for child in value.children if child.type == "async")
    elif value is not None and value.type == "class":
        kind, body = "class", value.child_by_field_name("body")
    elif b"const" in head:
        kind = "constant"
    shown = (
        tree.slice(value.start_byte, min(value.end_byte, value.start_byte + 1000))
        if value and kind == "constant"
        else ""
    )
    yield Found(kind, name, node, body, labels=labels, value=shown, public=_public(tree.of(name)))


def _assignment(tree: Tree, node: Node, scopes: list[Scope]) -> Iterator[Found]:
    """``exports.name = function ...`` and ``Class.prototype.name = function ...``."""
    left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
    if left is None or right is None or left.type != "member_expression" or right.type not in {*_FUNCTIONS, "class"}:
        return
    name, owner = left.child_by_field_name("property"), tree.of(left.child_by_field_name("object"))
    if name is None or len(owner) > 200:
        return
    body = right.child_by_field_name("body")
    if owner in {"exports", "module.exports"}:
        kind = "class" if right.type == "class" else "function"
        yield Found(kind, name, node, body, public=_public(tree.of(name)))
    elif owner.endswith(".prototype"):
        yield Found("method", name, node, body, scope=owner[: -len(".prototype")], public=_public(tree.of(name)))


def _enumerators(tree: Tree, node: Node, scopes: list[Scope]) -> Iterator[Found]:
    for child in node.named_children:
        if child.type == "enum_assignment":
            name, value = child.child_by_field_name("name"), child.child_by_field_name("value")
            if name is not None:
                yield Found("constant", name, child, value=tree.of(value))
        elif child.type != "comment":
            yield Found("constant", child, child)


def _import(tree: Tree, node: Node, scopes: list[Scope]) -> Iterator[Import]:
    line = node.start_point[0] + 1
    source = node.child_by_field_name("source")
    clause = next(
        (child for child in node.named_children if child.type in {"import_clause", "import_require_clause"}), None
    )
    if clause is not None and clause.type == "import_require_clause":
        source = clause.child_by_field_name("source")
        alias = tree.of(next(iter(clause.named_children), None))
        yield Import(line, _literal(tree, source), alias=alias, kind="require")
        return
    if source is None:
        return
    typing_only = any(child.type == "type" for child in node.children)
    module, column = _literal(tree, source), tree.column(source)
    if clause is None:
        yield Import(line, module, typing_only=typing_only, column=column)
        return
    for child in clause.named_children:
        if child.type == "identifier":
            yield Import(line, module, "default", tree.of(child), typing_only=typing_only, column=column)
        elif child.type == "namespace_import":
            yield Import(
                line,
                module,
                "*",
                tree.of(next(iter(child.named_children), None)),
                typing_only=typing_only,
                column=column,
            )
        elif child.type == "named_imports":
            yield from _specifiers(tree, child, module, typing_only)


def _specifiers(tree: Tree, node: Node, module: str, typing_only: bool) -> Iterator[Import]:
    for one in node.named_children:
        name, alias = tree.of(one.child_by_field_name("name")), tree.of(one.child_by_field_name("alias"))
        if name:
            yield Import(one.start_point[0] + 1, module, name, alias, typing_only=typing_only, column=tree.column(one))


def _export(tree: Tree, node: Node, scopes: list[Scope]) -> Iterator[Import]:
    """``export { a } from "b"`` imports as well; any other export is a wrapper around what it exports."""
    source = node.child_by_field_name("source")
    if source is None:
        scopes.append(_wrapped(tree, node, scopes[-1]))
        return
    clause = next((child for child in node.named_children if child.type == "export_clause"), None)
    if clause is not None:
        yield from _specifiers(tree, clause, _literal(tree, source), False)
    else:
        yield Import(node.start_point[0] + 1, _literal(tree, source), "*", column=tree.column(source))


def _wrapped(tree: Tree, node: Node, around: Scope) -> Scope:
    outermost = (around.start, around.row) if around.wrapper else tree.beginning(node)
    return around.wrapping(node.end_byte, *outermost)


def _call(tree: Tree, node: Node, scopes: list[Scope]) -> Iterator[Import]:
    function, arguments = node.child_by_field_name("function"), node.child_by_field_name("arguments")
    if function is None or arguments is None or function.end_byte - function.start_byte > len("require"):
        return
    name = tree.of(function)
    first = next(iter(arguments.named_children), None)
    if name in {"require", "import"} and first is not None and first.type == "string":
        kind = "require" if name == "require" else "import"
        yield Import(node.start_point[0] + 1, _literal(tree, first), kind=kind, column=tree.column(first))


def _literal(tree: Tree, node: Node | None) -> str:
    return tree.of(node).strip("\"'`")


_JAVASCRIPT: dict[str, Handler] = {
    **dict.fromkeys(
        word_set(
            """
            class_declaration function_declaration generator_function_declaration method_definition field_definition
            """
        ),
        _definition,
    ),
    "variable_declarator": _variable,
    "assignment_expression": _assignment,
    "import_statement": _import,
    "export_statement": _export,
    "call_expression": _call,
}
_TYPESCRIPT: dict[str, Handler] = {
    **_JAVASCRIPT,
    **dict.fromkeys((kind for kind in _KINDS if kind != "field_definition"), _definition),
    "enum_body": _enumerators,
}
del _TYPESCRIPT["field_definition"]

_KEYWORDS = word_set(
    """
    as async await break case catch class const continue debugger default delete do else export extends false finally
    for from function get if import in instanceof let new null of return set static super switch this throw true try
    typeof undefined var void while with yield
    """
)
_TYPESCRIPT_KEYWORDS = _KEYWORDS | word_set(
    """
    abstract any as asserts bigint boolean declare enum implements infer interface is keyof namespace never number
    object override private protected public readonly satisfies string symbol type unique unknown
    """
)

_LOOKS = Looks(
    Look("security", "evaluated code", "eval|Function|execScript", "evaluates a string",
         where=r"(?<![\w.$])eval\s*\(|\bnew\s+Function\s*\(|(?<![\w.$])Function\s*\(|\bexecScript\s*\("),
    Look("security", "evaluated code", "runInNewContext|runInThisContext|runInContext|vm", "runs code",
         where=r"\brunIn\w+\s*\(|\bvm\.\w+\s*\("),
    Look("security", "markup that isn't escaped",
         "innerHTML|outerHTML|insertAdjacentHTML|dangerouslySetInnerHTML|createContextualFragment|srcdoc",
         "text becomes markup", where=r"\b(?:innerHTML|outerHTML|srcdoc)\s*\+?=(?!=)|\b(?:insertAdjacentHTML|"
         r"createContextualFragment)\s*\(|dangerouslySet"),
    Look("security", "markup that isn't escaped", "write|writeln", "text becomes markup",
         where=r"\bdocument\.write(?:ln)?\s*\("),
    Look("security", "commands", r"exec|execSync|execFile\w*|spawn|spawnSync|fork", "runs a command",
         where=r"(?<![\w.$])(?:exec|execSync|execFile\w*|spawn|spawnSync|fork)\s*\(|\b(?:child_process|cp|"
         r"childProcess)\.\w+\s*\("),
    Look("security", "messages between windows", "postMessage|onmessage", "message; see whose", where=ANYWHERE),
    Look("security", "prototypes", "__proto__|setPrototypeOf", "changes a prototype", where=ANYWHERE),
    Look("security", "weak random numbers", "random", "random numbers that can be foretold",
         where=r"\bMath\.random\b"),
    Look("security", "weak hashes", "createHash|createCipher", "hash or cipher; see which"),
    Look("security", "stored in the browser", "localStorage|sessionStorage|cookie", "kept in the browser",
         where=r"\b(?:local|session)Storage\b|\bdocument\.cookie\b"),
    Look("security", "network", "fetch|XMLHttpRequest|WebSocket|EventSource|createServer", "network"),
    Look("security", "environment", "env", "reads the environment", where=r"\bprocess\.env\b"),
    Look("performance", "async", "async|await|Promise|then", "asynchronous code",
         where=r"\basync\b|\bawait\b|\bPromise\b|\.then\s*\("),
    Look("performance", "workers", "Worker|SharedWorker|worker_threads|cluster", "threads or processes",
         where=r"\bnew\s+\w*Worker\b|\bcluster\.\w"),
    Look("performance", "shared memory", "SharedArrayBuffer|Atomics", "memory of several threads", where=ANYWHERE),
    Look("performance", "timers", "setTimeout|setInterval|requestAnimationFrame|requestIdleCallback", "done later"),
    Look("performance", "file access", r"\w+Sync", "waits for the file system",
         where=r"\bfs\.\w+Sync\s*\(|(?<![\w.$])\w+Sync\s*\("),
    Look("performance", "layout", "getBoundingClientRect|getComputedStyle|offset(?:Width|Height|Top|Left)",
         "asks for the layout", where=ANYWHERE),
    Look("performance", "WebAssembly", "WebAssembly", "WebAssembly", where=ANYWHERE),
    Look("patterns", "observers",
         "addEventListener|MutationObserver|IntersectionObserver|ResizeObserver|EventEmitter", "told of events",
         where=r"\baddEventListener\s*\(|\bnew\s+\w+|\bextends\s+EventEmitter"),
    Look("patterns", "proxies", "Proxy|Reflect", "stands in for an object", where=r"\bnew\s+Proxy\b|\bReflect\.\w"),
)  # fmt: skip


def _grammar(name: str, lexer: str, module: str, function: str, typed: bool) -> Grammar:
    return Grammar(
        name=name,
        lexer=lexer,
        module=module,
        function=function,
        handlers=_TYPESCRIPT if typed else _JAVASCRIPT,
        keywords=_TYPESCRIPT_KEYWORDS if typed else _KEYWORDS,
        looks=_LOOKS,
        comments=("comment",) if typed else ("comment", "hash_bang_line"),
        hidden=("string_fragment", "regex_pattern", "jsx_text"),
        wrappers=("lexical_declaration", "variable_declaration", *(("ambient_declaration",) if typed else ())),
        closures=("arrow_function", "function_expression", "generator_function"),
        local=frozenset({"variable_declarator"}),
        token=r"[\w$]+",
        preamble=r"\s*[\"'`]?\s*[\"'`]?;?\s*$|#!",
    )


_GRAMMAR_JS = _grammar("JavaScript", "javascript", "tree_sitter_javascript", "language", False)
_GRAMMAR_TS = _grammar("TypeScript", "typescript", "tree_sitter_typescript", "language_typescript", True)
_GRAMMAR_TSX = _grammar("TypeScript", "typescript", "tree_sitter_typescript", "language_tsx", True)


def read_javascript(path: str, text: str) -> Facts:
    return read_tree(_GRAMMAR_JS, path, text)


def read_typescript(path: str, text: str) -> Facts:
    return read_tree(_GRAMMAR_TSX if path.lower().endswith(".tsx") else _GRAMMAR_TS, path, text)


JAVASCRIPT = Language(
    "JavaScript",
    "javascript",
    read_javascript,
    1,
    suffixes=(".js", ".mjs", ".cjs", ".jsx"),
    interpreters=("node", "bun"),
)
TYPESCRIPT = Language(
    "TypeScript",
    "typescript",
    read_typescript,
    1,
    suffixes=(".ts", ".mts", ".cts", ".tsx"),
    interpreters=("deno", "ts-node", "tsx"),
)
