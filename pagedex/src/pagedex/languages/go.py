"""Go.

Found: structs, interfaces and their methods, other types, functions, methods (``Type.Method``), fields, constants,
variables of the package; imports. Public is what begins with a capital. Not found: locals, and fields that are
embedded.
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

_TYPES = {"struct_type": "struct", "interface_type": "interface"}


def _public(name: str) -> bool:
    return name[:1].isupper()


def _import(tree: Tree, node: Node, scopes: list[Scope]) -> Iterator[Import]:
    path, alias = node.child_by_field_name("path"), tree.of(node.child_by_field_name("name"))
    if path is not None:
        name = "*" if alias == "." else ""
        module = tree.of(path).strip('"`')
        yield Import(path.start_point[0] + 1, module, name, "" if alias == "." else alias, column=tree.column(path))


def _type(tree: Tree, node: Node, scopes: list[Scope]) -> Iterator[Found]:
    name, base = node.child_by_field_name("name"), node.child_by_field_name("type")
    if name is None:
        return
    kind = _TYPES.get(base.type, "type") if base is not None else "type"
    body = None
    bases: tuple[str, ...] = ()
    if base is not None and kind == "interface":
        body = base
        bases = tuple(tree.of(child) for child in base.named_children if child.type == "type_elem")
    elif base is not None and kind == "struct":
        body = next(iter(base.named_children), None)
        fields = body.named_children if body is not None else []
        bases = tuple(
            tree.of(one.child_by_field_name("type"))
            for one in fields
            if one.type == "field_declaration" and one.child_by_field_name("name") is None
        )
    yield Found(kind, name, node, body, bases=bases, public=_public(tree.of(name)))


def _named(kind: str) -> Handler:
    def handler(tree: Tree, node: Node, scopes: list[Scope]) -> Iterator[Found]:
        value = node.child_by_field_name("value")
        for name in node.children_by_field_name("name"):
            if name.is_named:
                shown = tree.of(value) if kind == "constant" else ""
                yield Found(
                    kind, name, node, value if kind == "variable" else None, value=shown, public=_public(tree.of(name))
                )

    return handler


def _function(tree: Tree, node: Node, scopes: list[Scope]) -> Iterator[Found]:
    name = node.child_by_field_name("name")
    if name is not None:
        yield Found("function", name, node, node.child_by_field_name("body"), public=_public(tree.of(name)))


def _method(tree: Tree, node: Node, scopes: list[Scope]) -> Iterator[Found]:
    name, receiver = node.child_by_field_name("name"), node.child_by_field_name("receiver")
    if name is None:
        return
    # "(s *Stack[T])" is of Stack.
    words = tree.of(receiver).strip("() ").partition("[")[0].replace("*", " ").split()
    scope = words[-1] if words else ""
    public = _public(tree.of(name)) and _public(scope)
    yield Found("method", name, node, node.child_by_field_name("body"), scope=scope, public=public)


_HANDLERS: dict[str, Handler] = {
    "import_spec": _import,
    "type_spec": _type,
    "type_alias": _type,
    "const_spec": _named("constant"),
    "var_spec": _named("variable"),
    "field_declaration": _named("member"),
    "method_elem": _named("method"),
    "function_declaration": _function,
    "method_declaration": _method,
}

_KEYWORDS = word_set(
    """
    any append bool break byte cap case chan complex128 complex64 const continue copy default defer delete else
    error fallthrough false float32 float64 for func go goto if import int int16 int32 int64 int8 interface iota len
    make map new nil package panic range recover return rune select string struct switch true type uint uint16
    uint32 uint64 uint8 uintptr var
    """
)

_LOOKS = Looks(
    Look("security", "commands", "Command|CommandContext|Exec|ForkExec", "runs a command",
         where=r"\b\w*exec\.Command\w*\s*\(|\bsyscall\.(?:Exec|ForkExec)\b"),
    Look("security", "unsafe code", "unsafe", "memory that Go doesn't check", where=r"\bunsafe\.\w"),
    Look("security", "cgo", "C", "calls C", where=r"\bC\.\w+\s*\("),
    Look("security", "markup that isn't escaped", "template", "HTML that isn't escaped",
         where=r"\btemplate\.(?:HTML|JS|URL|CSS)\b"),
    Look("security", "TLS without checks", "InsecureSkipVerify", "a server's certificate isn't checked",
         where=ANYWHERE),
    Look("security", "weak hashes", "md5|sha1|des|rc4", "weak hash or cipher", where=r"\b(?:md5|sha1|des|rc4)\.\w"),
    Look("security", "weak random numbers", "rand", "random numbers; math/rand can be foretold", where=r"\brand\.\w"),
    Look("security", "panics", r"panic|Fatal\w*", "ends the program", where=r"\bpanic\s*\(|\blog\.Fatal"),
    Look("security", "environment", "Getenv|LookupEnv|Setenv", "reads or sets the environment"),
    Look("security", "sockets", r"Listen\w*|Dial\w*|ListenAndServe\w*", "network"),
    Look("security", "decoded objects", "gob", "decodes what a stream says", where=r"\bgob\.NewDecoder\b"),
    Look("performance", "goroutines", "go|errgroup", "starts a goroutine",
         where=r"\bgo\s+[\w.]+\s*[({]|\bgo\s+func\b|\berrgroup\."),
    Look("performance", "channels", "chan|select", "channel", where=r"\bchan\b|\bselect\s*\{"),
    Look("performance", "locks", "Mutex|RWMutex|WaitGroup|Once|Cond", "lock", where=r"\bsync\."),
    Look("performance", "atomics", "atomic", "atomic operation", where=r"\batomic\.\w"),
    Look("performance", "pools", "Pool", "pool of objects", where=r"\bsync\.Pool\b"),
    Look("performance", "file access", "os|ioutil|bufio", "reads or writes files",
         where=r"\bos\.(?:Open|OpenFile|Create|ReadFile|WriteFile|ReadDir)\b|\bioutil\.\w|\bbufio\.New"),
    Look("performance", "reflection", "reflect", "looks at types at run time", where=r"\breflect\.\w"),
    Look("patterns", "deferred cleanup", "defer", "done when the function ends", where=ANYWHERE),
    Look("patterns", "contexts", "context", "can be cancelled", where=r"\bcontext\.(?:With\w+|Context)\b"),
    Look("patterns", "singletons", "Once", "done once", where=r"\bsync\.Once\b"),
)  # fmt: skip

_GRAMMAR = Grammar(
    name="Go",
    lexer="go",
    module="tree_sitter_go",
    handlers=_HANDLERS,
    keywords=_KEYWORDS,
    looks=_LOOKS,
    hidden=("interpreted_string_literal", "raw_string_literal", "rune_literal"),
    wrappers=("type_declaration", "const_declaration", "var_declaration"),
    closures=("func_literal",),
    local=frozenset({"const_spec", "var_spec", "type_spec", "type_alias", "field_declaration"}),
)


def read_go(path: str, text: str) -> Facts:
    return read_tree(_GRAMMAR, path, text)


GO = Language("Go", "go", read_go, 1, suffixes=(".go",))
