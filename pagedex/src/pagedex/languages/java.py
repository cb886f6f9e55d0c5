"""Java.

Found: classes, records, enums and their constants, interfaces, annotations, methods and constructors, fields,
constants (``static final``); imports. Public is what isn't ``private``. Not found: locals, and initializers without a
name.
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
    "record_declaration": "class",
    "enum_declaration": "enum",
    "interface_declaration": "interface",
    "annotation_type_declaration": "interface",
    "method_declaration": "method",
    "constructor_declaration": "method",
    "compact_constructor_declaration": "method",
    "annotation_type_element_declaration": "method",
    "enum_constant": "constant",
}
_MARKS = {"record_declaration": "record", "annotation_type_declaration": "annotation"}
_BASES = frozenset({"superclass", "super_interfaces", "extends_interfaces"})
_LABELS = frozenset(
    {"static", "abstract", "final", "synchronized", "native", "default", "volatile", "transient", "sealed"}
)


def _modifiers(tree: Tree, node: Node) -> tuple[list[str], tuple[str, ...]]:
    """The words before a definition, and its annotations."""
    modifiers = next((child for child in node.children if child.type == "modifiers"), None)
    if modifiers is None:
        return [], ()
    annotations = [one for one in modifiers.named_children if one.type in {"marker_annotation", "annotation"}]
    words = [tree.of(one) for one in modifiers.children if one not in annotations]
    return words, tuple(tree.of(one).lstrip("@") for one in annotations)


def _definition(tree: Tree, node: Node, scopes: list[Scope]) -> Iterator[Found]:
    name = node.child_by_field_name("name")
    if name is None:
        return
    words, annotations = _modifiers(tree, node)
    mark = _MARKS.get(node.type)
    yield Found(
        _KINDS[node.type],
        name,
        node,
        node.child_by_field_name("body"),
        labels=((mark,) if mark else ()) + tuple(word for word in words if word in _LABELS),
        bases=tuple(_bases(tree, node)),
        decorators=annotations,
        public="private" not in words,
    )


def _bases(tree: Tree, node: Node) -> Iterator[str]:
    for child in node.named_children:
        if child.type in _BASES:
            for one in child.named_children:
                yield from (tree.of(each) for each in (one.named_children if one.type == "type_list" else [one]))


def _field(tree: Tree, node: Node, scopes: list[Scope]) -> Iterator[Found]:
    words, annotations = _modifiers(tree, node)
    constant = node.type == "constant_declaration" or {"static", "final"} <= set(words)
    for declarator in node.children_by_field_name("declarator"):
        name, value = declarator.child_by_field_name("name"), declarator.child_by_field_name("value")
        if name is not None:
            yield Found(
                "constant" if constant else "member",
                name,
                node,
                value,
                labels=tuple(word for word in words if word in _LABELS),
                decorators=annotations,
                value=tree.of(value) if constant else "",
                public="private" not in words,
            )


def _import(tree: Tree, node: Node, scopes: list[Scope]) -> Iterator[Import]:
    path = next((one for one in node.named_children if one.type in {"scoped_identifier", "identifier"}), None)
    if path is None:
        return
    text = tree.of(path)
    everything = any(one.type == "asterisk" for one in node.named_children)
    module, _, name = (text, "", "*") if everything else text.rpartition(".")
    yield Import(node.start_point[0] + 1, module or name, name if module else "", column=tree.column(path))


_HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(_KINDS, _definition),
    "field_declaration": _field,
    "constant_declaration": _field,
    "import_declaration": _import,
}

_KEYWORDS = word_set(
    """
    abstract assert boolean break byte case catch char class const continue default do double else enum extends
    false final finally float for goto if implements import instanceof int interface long native new null package
    private protected public return short static strictfp super switch synchronized this throw throws transient true
    try var void volatile while yield
    """
)

_LOOKS = Looks(
    Look("security", "commands", "exec|ProcessBuilder", "runs a command",
         where=r"\.exec\s*\(|\bnew\s+ProcessBuilder\b"),
    Look("security", "decoded objects", "ObjectInputStream|XMLDecoder|readObject|readUnshared",
         "makes objects that a stream names"),
    Look("security", "evaluated code", r"ScriptEngine\w*|GroovyShell|SpelExpressionParser", "evaluates code",
         where=ANYWHERE),
    Look("security", "reflection", r"forName|setAccessible|defineClass|loadClass|getDeclared\w+",
         "reaches classes by name"),
    Look("security", "SQL from strings", "createStatement|executeQuery|executeUpdate", "SQL",
         where=r"createStatement\s*\(|execute\w+\s*\([^)]*\+"),
    Look("security", "XML with entities", "DocumentBuilderFactory|SAXParserFactory|XMLInputFactory", "parser of XML",
         where=r"\.new\w+\s*\("),
    Look("security", "weak hashes", "MessageDigest|Cipher", "hash or cipher; see which", where=r"\.getInstance\s*\("),
    Look("security", "weak random numbers", "Random|random", "random numbers that can be foretold",
         where=r"\bnew\s+Random\b|\bMath\.random\b"),
    Look("security", "asserts as checks", "assert", "assert: not there without -ea", where=r"\bassert\b"),
    Look("security", "native code", "loadLibrary|load|native", "native code", where=r"\bSystem\.load\w*|\bnative\s"),
    Look("security", "sockets", "Socket|ServerSocket|URL|HttpClient", "network",
         where=r"\bnew\s+(?:Socket|ServerSocket|URL)\b|HttpClient\.new"),
    Look("performance", "threads",
         "Thread|Executors|ExecutorService|CompletableFuture|ForkJoinPool|parallelStream|parallel",
         "threads or tasks",
         where=r"\bnew\s+Thread\b|\bExecutors\.|\bCompletableFuture\.|\bForkJoinPool\b|\.parallel\w*\s*\(|"
         r"\bThread\.\w"),
    Look("performance", "locks",
         "synchronized|ReentrantLock|ReentrantReadWriteLock|Semaphore|CountDownLatch|wait|notify|notifyAll", "lock",
         where=r"\bsynchronized\b|\bnew\s+\w|\b(?:wait|notify|notifyAll)\s*\("),
    Look("performance", "atomics", r"Atomic\w+|volatile|VarHandle", "atomic or volatile", where=ANYWHERE),
    Look("performance", "file access", r"File\w*Stream|FileReader|FileWriter|RandomAccessFile|FileChannel|Files",
         "reads or writes files", where=r"\bnew\s+\w+|\bFiles\.\w|\bFileChannel\.open"),
    Look("performance", "direct memory", "allocateDirect|MappedByteBuffer|Unsafe", "memory outside of the heap",
         where=ANYWHERE),
    Look("patterns", "owned resources", "AutoCloseable|Closeable|try", "resource closed by its owner",
         where=r"\b(?:AutoCloseable|Closeable)\b|\btry\s*\("),
    Look("patterns", "singletons", "getInstance|INSTANCE", "one instance",
         where=r"\bstatic\b.*\b(?:getInstance|INSTANCE)\b"),
)  # fmt: skip

_GRAMMAR = Grammar(
    name="Java",
    lexer="java",
    module="tree_sitter_java",
    handlers=_HANDLERS,
    keywords=_KEYWORDS,
    looks=_LOOKS,
    comments=("line_comment", "block_comment"),
    hidden=("string_fragment", "multiline_string_fragment", "character_literal"),
    closures=("lambda_expression",),
    preamble=r"\s*package\s",
)


def read_java(path: str, text: str) -> Facts:
    return read_tree(_GRAMMAR, path, text)


JAVA = Language("Java", "java", read_java, 1, suffixes=(".java",))
