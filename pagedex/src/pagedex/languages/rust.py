"""Rust.

Found: modules, structs, unions, enums and their variants, traits, implementations (named after their type, with the
trait as base), functions and methods, fields, types, constants, statics, macros; ``use``, ``extern crate`` and ``mod
x;``. Public is what is ``pub`` in any form, and what stands in a trait or in the implementation of one. Not found:
what macros make, tuple fields, locals.
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
    "struct_item": "struct",
    "enum_item": "enum",
    "union_item": "union",
    "trait_item": "trait",
    "type_item": "type",
    "associated_type": "type",
    "const_item": "constant",
    "static_item": "variable",
    "macro_definition": "macro",
    "field_declaration": "member",
    "enum_variant": "constant",
    "function_item": "function",
    "function_signature_item": "function",
}
_OPEN = frozenset({"trait", "enum"})
_LABELS = ("const", "async", "unsafe", "extern")


def _item(tree: Tree, node: Node, scopes: list[Scope]) -> Iterator[Found]:
    name = node.child_by_field_name("name")
    if name is None:
        return
    around = scopes[-1]
    kind = _KINDS[node.type]
    if kind == "function" and around.kind in {"implementation", "trait"}:
        kind = "method"
    value = node.child_by_field_name("value") if kind == "constant" else None
    bounds = node.child_by_field_name("bounds") if kind == "trait" else None
    yield Found(
        kind,
        name,
        node,
        node.child_by_field_name("body") or _rules(node),
        labels=_labels(tree, node),
        bases=tuple(tree.of(one) for one in bounds.named_children) if bounds is not None else (),
        value=tree.of(value),
        public=around.kind in _OPEN or around.open or _visible(node),
    )


def _visible(node: Node) -> bool:
    return any(child.type == "visibility_modifier" for child in node.children)


def _rules(node: Node) -> Node | None:
    """The first rule of a macro."""
    return next((child for child in node.named_children if child.type == "macro_rule"), None)


def _labels(tree: Tree, node: Node) -> tuple[str, ...]:
    modifiers = next((child for child in node.children if child.type == "function_modifiers"), None)
    words = tree.of(modifiers).split()
    mutable = any(child.type == "mutable_specifier" for child in node.children)
    unsafe = any(child.type == "unsafe" for child in node.children)
    return tuple(word for word in _LABELS if word in words or (word == "unsafe" and unsafe)) + (
        ("mut",) if mutable else ()
    )


def _implementation(tree: Tree, node: Node, scopes: list[Scope]) -> Iterator[Found]:
    implemented, trait = node.child_by_field_name("type"), node.child_by_field_name("trait")
    if implemented is None:
        return
    name = implemented.child_by_field_name("type") if implemented.type == "generic_type" else implemented
    yield Found(
        "implementation",
        name or implemented,
        node,
        node.child_by_field_name("body"),
        labels=("unsafe",) if any(child.type == "unsafe" for child in node.children) else (),
        bases=(tree.of(trait),) if trait is not None else (),
        open=trait is not None,
    )


def _module(tree: Tree, node: Node, scopes: list[Scope]) -> Iterator[Found | Import]:
    name, body = node.child_by_field_name("name"), node.child_by_field_name("body")
    if name is None:
        return
    if body is None:
        yield Import(node.start_point[0] + 1, tree.of(name), kind="use", column=tree.column(name))
    else:
        yield Found("module", name, node, body, public=_visible(node))


def _crate(tree: Tree, node: Node, scopes: list[Scope]) -> Iterator[Import]:
    name, alias = node.child_by_field_name("name"), node.child_by_field_name("alias")
    if name is not None:
        yield Import(node.start_point[0] + 1, tree.of(name), alias=tree.of(alias), kind="use", column=tree.column(name))


def _use(tree: Tree, node: Node, scopes: list[Scope]) -> Iterator[Import]:
    """``use a::{b, c as d, e::*}`` is one import for each name."""
    argument = node.child_by_field_name("argument")
    pending: list[tuple[str, Node]] = [("", argument)] if argument is not None else []
    while pending:
        path, one = pending.pop()
        if one.type == "scoped_use_list":
            listed = one.child_by_field_name("list")
            path = _path(path, tree.of(one.child_by_field_name("path")))
            pending.extend((path, child) for child in reversed(listed.named_children if listed is not None else []))
        elif one.type == "use_list":
            pending.extend((path, child) for child in reversed(one.named_children))
        elif one.type == "use_wildcard":
            inner = next(iter(one.named_children), None)
            yield _import(tree, one, _path(path, tree.of(inner)), "*", "")
        elif one.type == "use_as_clause":
            module, _, name = _path(path, tree.of(one.child_by_field_name("path"))).rpartition("::")
            yield _import(tree, one, module, name, tree.of(one.child_by_field_name("alias")))
        elif one.type in {"identifier", "scoped_identifier", "self", "crate", "super"}:
            module, _, name = _path(path, tree.of(one)).rpartition("::")
            yield _import(tree, one, module or name, name if module else "", "")


def _import(tree: Tree, node: Node, module: str, name: str, alias: str) -> Import:
    return Import(node.start_point[0] + 1, module, name, alias, kind="use", column=tree.column(node))


def _path(first: str, second: str) -> str:
    return "::".join(part for part in (first, second) if part)


_HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(_KINDS, _item),
    "impl_item": _implementation,
    "mod_item": _module,
    "use_declaration": _use,
    "extern_crate_declaration": _crate,
}

_KEYWORDS = word_set(
    """
    Self as async await bool break char const continue crate dyn else enum extern f32 f64 false fn for i128 i16 i32
    i64 i8 if impl in isize let loop macro_rules match mod move mut pub ref return self static str struct super
    trait true type u128 u16 u32 u64 u8 union unsafe use usize where while yield
    """
)

_LOOKS = Looks(
    Look("security", "unsafe code", "unsafe", "unsafe", where=ANYWHERE),
    Look("security", "raw memory",
         "transmute|transmute_copy|from_raw_parts(?:_mut)?|from_raw|get_unchecked(?:_mut)?|assume_init|"
         "set_len|copy_nonoverlapping|read_volatile|write_volatile|zeroed|from_utf8_unchecked|"
         "unreachable_unchecked", "what the compiler doesn't check"),
    Look("security", "commands", "Command", "runs a command", where=r"\bCommand::new\b"),
    Look("security", "panics", "unwrap|expect|panic|todo|unimplemented|unreachable", "panics where it fails",
         where=r"\.(?:unwrap|expect)\s*\(|\b(?:panic|todo|unimplemented|unreachable)!"),
    Look("security", "asserts as checks", "debug_assert(?:_eq|_ne)?", "not there in release builds",
         where=r"\bdebug_assert\w*!"),
    Look("security", "foreign functions", "extern|no_mangle|libc", "calls to or from other languages",
         where=r"\bextern\s|no_mangle|\blibc::"),
    Look("security", "loaded code", "Library|dlopen", "loads code at run time", where=r"\bLibrary::new\b|\bdlopen\b"),
    Look("security", "environment", "var|var_os|set_var", "reads or sets the environment", where=r"\benv::\w+"),
    Look("security", "sockets", "TcpStream|TcpListener|UdpSocket|UnixStream|UnixListener", "network",
         where=r"::\s*(?:connect|bind|new)"),
    Look("performance", "threads", r"spawn|scope|rayon|par_iter\w*", "threads or tasks",
         where=r"\bspawn\w*\s*\(|\bscope\s*\(|rayon|par_iter"),
    Look("performance", "locks", "Mutex|RwLock|Condvar|Once|OnceLock|Barrier", "lock",
         where=r"::\s*(?:<.*>)?\s*(?:new|default)|<"),
    Look("performance", "atomics", r"Atomic\w+|fetch_\w+|compare_exchange\w*|fence", "atomic operation",
         where=ANYWHERE),
    Look("performance", "async", "async|await|tokio|async_std", "asynchronous code", where=ANYWHERE),
    Look("performance", "SIMD", r"_mm\d*_\w+|__m(?:128|256|512)[id]?|v[a-z]+q?_[fsup]\d+|target_feature|simd\w*",
         "SIMD", where=ANYWHERE),
    Look("performance", "allocation", "Box|with_capacity|to_vec|to_owned|to_string|clone|collect", "allocates memory",
         where=r"\bBox::new|with_capacity\s*\(|\.(?:to_vec|to_owned|to_string|clone|collect)\s*(?:::<.*>)?\s*\("),
    Look("performance", "file access", r"File|OpenOptions|BufReader|BufWriter|read_to_end|read_to_string|Mmap\w*|fs",
         "reads or writes files", where=r"\b(?:File|OpenOptions|BufReader|BufWriter|Mmap\w*|fs)::\w+|\.read_to_"),
    Look("patterns", "owned resources", "Drop", "frees a resource when it goes", where=r"\bDrop\s+for\b"),
    Look("patterns", "shared ownership", "Arc|Rc|RefCell|OnceCell", "shared or checked at run time",
         where=r"\b(?:Arc|Rc|RefCell|OnceCell)\s*(?:<|::)"),
    Look("patterns", "trait objects", "dyn", "chosen at run time", where=ANYWHERE),
)  # fmt: skip

_GRAMMAR = Grammar(
    name="Rust",
    lexer="rust",
    module="tree_sitter_rust",
    handlers=_HANDLERS,
    keywords=_KEYWORDS,
    looks=_LOOKS,
    comments=("line_comment", "block_comment"),
    hidden=("string_content", "char_literal"),
    local=frozenset({"const_item", "static_item", "type_item", "use_declaration"}),
    closures=("closure_expression",),
    between=("attribute_item",),
    separator="::",
    preamble=r"\s*#!\[",
)


def read_rust(path: str, text: str) -> Facts:
    return read_tree(_GRAMMAR, path, text)


RUST = Language("Rust", "rust", read_rust, 1, suffixes=(".rs",))
