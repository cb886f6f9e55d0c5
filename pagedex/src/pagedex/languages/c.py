"""C, C++ and CUDA.

Found: namespaces, classes, structs, unions, enums and their constants, functions and methods (defined or declared),
fields, types, concepts, macros, and variables and constants of files, namespaces and classes; includes. Not found:
what only macros make, friends, forward declarations of classes, locals, and explicit instantiations. A function whose
name says its class (``Class::method``) is a method; whether ``Class`` is one or a namespace can't be told from one
file.

Headers lean on macros that the grammar takes for types. Attributes (``TORCH_API``, ``__device__``) and braces as
default arguments are blanked out before parsing; what is shown is the original text. A ``.h`` that holds nothing of
C++ is C.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pagedex.languages.c_looks import C_LOOKS, CPP_LOOKS
from pagedex.languages.c_text import C_KEYWORDS, CPP_KEYWORDS, OF_CPP, soften, soften_cuda
from pagedex.languages.contract import Language
from pagedex.languages.nodes import Found, Grammar, Handler, Scope, Tree, word_set
from pagedex.languages.trees import read_tree
from pagedex.model.facts import Facts, Import

if TYPE_CHECKING:
    from tree_sitter import Node

_CLASSES = {
    "class_specifier": "class",
    "struct_specifier": "struct",
    "union_specifier": "union",
    "enum_specifier": "enum",
}
_CLASS_KINDS = frozenset(_CLASSES.values())
_NAMES = frozenset(
    {
        "identifier",
        "field_identifier",
        "type_identifier",
        "destructor_name",
        "operator_name",
        "operator_cast",
        "template_function",
    }
)
# What may be around the name in a declarator.
_LAYERS = frozenset(
    {
        "pointer_declarator",
        "reference_declarator",
        "array_declarator",
        "init_declarator",
        "parenthesized_declarator",
        "attributed_declarator",
        "function_declarator",
    }
)
_LABELS = word_set(
    """
    static extern inline virtual const constexpr consteval constinit explicit mutable volatile thread_local
    __global__ __device__ __host__ __shared__ __constant__ __forceinline__ __managed__
    """
)
_GUARD = re.compile(r".*(?:_H_*|_HH_*|_HPP_*|_CUH_*|_INCLUDED_*|_GUARD_*)$")
_WORD = re.compile(r"\w+")


def _include(tree: Tree, node: Node, scopes: list[Scope]) -> Iterator[Import]:
    path = node.child_by_field_name("path")
    if path is not None:
        yield Import(node.start_point[0] + 1, tree.of(path).strip('<>"'), kind="include", column=tree.column(path))


def _namespace(tree: Tree, node: Node, scopes: list[Scope]) -> Iterator[Found]:
    name = node.child_by_field_name("name")
    if name is not None:
        yield Found("namespace", name, node, node.child_by_field_name("body"))
    else:
        # What stands in a namespace without a name is of this file only.
        scopes.append(scopes[-1].hidden(node.end_byte))


def _class(tree: Tree, node: Node, scopes: list[Scope]) -> Iterator[Found]:
    body, name = node.child_by_field_name("body"), node.child_by_field_name("name")
    if body is None or name is None:
        return
    if name.type == "macro_type_specifier":
        return
    bases = next((child for child in node.named_children if child.type == "base_class_clause"), None)
    scope, last = _qualified(tree, name)
    yield Found(
        _CLASSES[node.type],
        last,
        node,
        body,
        scope=scope,
        bases=tuple(_bases(tree, bases)) if bases is not None else (),
        labels=_template(tree, scopes[-1]),
        public=_public(scopes[-1]),
    )


def _bases(tree: Tree, clause: Node) -> Iterator[str]:
    for child in clause.named_children:
        if child.type in {"type_identifier", "qualified_identifier", "template_type"}:
            yield tree.of(child)


def _access(tree: Tree, node: Node, scopes: list[Scope]) -> Iterator[Found]:
    # "public" in a list of bases says nothing of members, and stands before the body.
    if node.next_sibling is not None and node.next_sibling.type == ":":
        scopes[-1].access = tree.of(node)
    return iter(())


def _public(around: Scope) -> bool:
    access = around.access or ("private" if around.kind == "class" else "public")
    return access == "public" if around.kind in _CLASS_KINDS else True


def _template(tree: Tree, around: Scope) -> tuple[str, ...]:
    return ("template",) if around.wrapper and tree.data.startswith(b"template", around.start) else ()


def _function(tree: Tree, node: Node, scopes: list[Scope]) -> Iterator[Found]:
    declarator = node.child_by_field_name("declarator")
    body = node.child_by_field_name("body")
    if declarator is not None:
        initializers = next((child for child in node.named_children if child.type == "field_initializer_list"), None)
        yield from _declared(tree, node, declarator, scopes[-1], initializers or body)


def _declaration(tree: Tree, node: Node, scopes: list[Scope]) -> Iterator[Found]:
    # "struct S { ... } s;" defines S by itself, and s here.
    for declarator in node.children_by_field_name("declarator"):
        yield from _declared(tree, node, declarator, scopes[-1], None, node.child_by_field_name("default_value"))


def _declared(
    tree: Tree, node: Node, declarator: Node, around: Scope, body: Node | None, default: Node | None = None
) -> Iterator[Found]:
    value, name, called, pointer = default, declarator, None, False
    while name.type in _LAYERS:
        if name.type == "init_declarator":
            value = name.child_by_field_name("value")
        elif name.type == "function_declarator":
            called = called or name
        elif name.type in {"pointer_declarator", "array_declarator"} and called is not None:
            pointer = True  # of a function: the name is a variable's
        inner = name.child_by_field_name("declarator") or next(
            (one for one in name.named_children if one.type != "ERROR"), None
        )
        if inner is None:
            return
        name = inner
    if name.type not in _NAMES and name.type != "qualified_identifier":
        return
    scope, last = _qualified(tree, name)
    labels = _labels(tree, node, around)
    # Members of a class are as visible as it says; what is static at file level is of this file.
    member = around.kind in _CLASS_KINDS
    public = _public(around) and (member or bool(scope) or "static" not in labels)
    if name.type == "operator_cast" or (called is not None and not pointer):
        kind = "method" if member or scope else "function"
        if body is None and node.type != "function_definition":
            labels = (*labels, "declaration")
        if node.type != "function_definition" and value is not None:
            labels = (*labels, "abstract") if tree.of(value) == "0" else labels
        yield Found(kind, last, node, body, scope=scope, labels=labels, public=public)
    else:
        constant = "constexpr" in labels or ("const" in labels and value is not None)
        kind = "constant" if constant else "member" if member else "variable"
        yield Found(
            kind, last, node, value, scope=scope, labels=labels, value=_value(tree, value, constant), public=public
        )


def _value(tree: Tree, value: Node | None, constant: bool) -> str:
    return (
        tree.slice(value.start_byte, min(value.end_byte, value.start_byte + 1000))
        if value is not None and constant
        else ""
    )


def _labels(tree: Tree, node: Node, around: Scope) -> tuple[str, ...]:
    start = around.start if around.wrapper else tree.beginning(node)[0]
    head = re.sub("^template *<.*?> ", "", tree.slice(start, min(node.end_byte, start + 300)))
    words = _WORD.findall(re.split(r"[({=;]", head, maxsplit=1)[0])
    return (*_template(tree, around), *dict.fromkeys(word for word in words if word in _LABELS))


def _qualified(tree: Tree, name: Node) -> tuple[str, Node | str]:
    """``ns::Class<T>::method`` is ``ns::Class`` and ``method``."""
    scopes = []
    while name.type == "qualified_identifier":
        scope = name.child_by_field_name("scope")
        if scope is not None:
            scopes.append(_plain(tree, scope))
        inner = name.child_by_field_name("name")
        if inner is None:
            break
        name = inner
    joined = "::".join(scopes)
    if name.type in {"template_type", "template_function", "template_method"}:
        name = name.child_by_field_name("name") or name
    if name.type == "operator_cast":
        return joined, "operator " + tree.of(name.child_by_field_name("type"))
    return joined, name


def _plain(tree: Tree, scope: Node) -> str:
    inner = scope.child_by_field_name("name") if scope.type == "template_type" else scope
    return tree.of(inner)


def _type(tree: Tree, node: Node, scopes: list[Scope]) -> Iterator[Found]:
    """``typedef``. That of a struct without a name is the struct."""
    base = node.child_by_field_name("type")
    kind = "type"
    if base is not None and base.type in _CLASSES and base.child_by_field_name("name") is None:
        kind = _CLASSES[base.type]
    body = base.child_by_field_name("body") if base is not None else None
    for name in node.children_by_field_name("declarator"):
        while name.type not in _NAMES:
            inner = name.child_by_field_name("declarator") or next(iter(name.named_children), None)
            if inner is None:
                return
            name = inner
        yield Found(kind, name, node, body, public=_public(scopes[-1]))
        kind = "type"


def _alias(tree: Tree, node: Node, scopes: list[Scope]) -> Iterator[Found]:
    name = node.child_by_field_name("name")
    if name is not None:
        yield Found("type", name, node, labels=_template(tree, scopes[-1]), public=_public(scopes[-1]))


def _concept(tree: Tree, node: Node, scopes: list[Scope]) -> Iterator[Found]:
    name = node.child_by_field_name("name")
    if name is not None:
        yield Found("type", name, node, labels=("concept",))


def _enumerator(tree: Tree, node: Node, scopes: list[Scope]) -> Iterator[Found]:
    name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
    if name is not None:
        yield Found("constant", name, node, value=_value(tree, value, True), public=_public(scopes[-1]))


def _macro(tree: Tree, node: Node, scopes: list[Scope]) -> Iterator[Found]:
    name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
    if name is None or (value is None and _GUARD.match(tree.of(name))):
        return
    parameters = node.child_by_field_name("parameters")
    # A macro with a value is shown with it, one with parameters without its body.
    yield Found(
        "macro", name, node, value if parameters is not None else None, value=_value(tree, value, parameters is None)
    )


_C: dict[str, Handler] = {
    **dict.fromkeys(_CLASSES, _class),
    "preproc_include": _include,
    "function_definition": _function,
    "declaration": _declaration,
    "field_declaration": _declaration,
    "type_definition": _type,
    "enumerator": _enumerator,
    "preproc_def": _macro,
    "preproc_function_def": _macro,
}
del _C["class_specifier"]
_CPP: dict[str, Handler] = {
    **_C,
    "class_specifier": _class,
    "namespace_definition": _namespace,
    "access_specifier": _access,
    "alias_declaration": _alias,
    "concept_definition": _concept,
}

_PREAMBLE = r"\s*#\s*(?:pragma\s+once|ifndef|if\s+!\s*defined|define\s+\w+\s*$)"

_GRAMMAR_C = Grammar(
    name="C",
    lexer="c",
    module="tree_sitter_c",
    handlers=_C,
    keywords=C_KEYWORDS,
    looks=C_LOOKS,
    hidden=("string_content", "char_literal", "system_lib_string"),
    local=frozenset({"declaration", "field_declaration"}),
    separator="::",
    preamble=_PREAMBLE,
    soften=soften,
)
_GRAMMAR_CPP = Grammar(
    name="C++",
    lexer="cpp",
    module="tree_sitter_cpp",
    handlers=_CPP,
    keywords=CPP_KEYWORDS,
    looks=CPP_LOOKS,
    hidden=("string_content", "char_literal", "system_lib_string", "raw_string_content"),
    wrappers=("template_declaration", "linkage_specification"),
    closures=("lambda_expression",),
    local=frozenset({"declaration", "alias_declaration"}),
    separator="::",
    preamble=_PREAMBLE,
    soften=soften,
)
_GRAMMAR_CUDA = Grammar(
    name="CUDA",
    lexer="cuda",
    module="tree_sitter_cuda",
    handlers=_CPP,
    keywords=CPP_KEYWORDS,
    looks=CPP_LOOKS,
    hidden=("string_content", "char_literal", "system_lib_string", "raw_string_content"),
    wrappers=("template_declaration", "linkage_specification"),
    closures=("lambda_expression",),
    local=frozenset({"declaration", "alias_declaration"}),
    separator="::",
    preamble=_PREAMBLE,
    soften=soften_cuda,
)


def read_c(path: str, text: str) -> Facts:
    return read_tree(_GRAMMAR_C, path, text)


def read_cpp(path: str, text: str) -> Facts:
    """The facts of a C++ file, or of a header, which is C where nothing in it is of C++."""
    if path.lower().endswith(".h") and not OF_CPP.search(text):
        return read_tree(_GRAMMAR_C, path, text)
    return read_tree(_GRAMMAR_CPP, path, text)


def read_cuda(path: str, text: str) -> Facts:
    return read_tree(_GRAMMAR_CUDA, path, text)


C = Language("C", "c", read_c, 1, suffixes=(".c",))
CPP = Language(
    "C++",
    "cpp",
    read_cpp,
    1,
    suffixes=(
        ".cpp",
        ".cc",
        ".cxx",
        ".c++",
        ".h",
        ".hpp",
        ".hh",
        ".hxx",
        ".h++",
        ".inl",
        ".ipp",
        ".tpp",
        ".txx",
        ".ixx",
        ".cppm",
    ),
)
CUDA = Language("CUDA", "cuda", read_cuda, 1, suffixes=(".cu", ".cuh"))
