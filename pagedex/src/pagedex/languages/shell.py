"""Shell: sh, Bash and their kin, read as Bash.

Found: functions, variables and constants (``readonly``, ``declare -r``) outside of functions, aliases; ``source`` and
``.``. Identifiers are the names of variables, functions and commands, and names in other text; words are those of the
comments. Not found: locals, and what ``eval`` makes.
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


def _function(tree: Tree, node: Node, scopes: list[Scope]) -> Iterator[Found]:
    name = node.child_by_field_name("name")
    if name is not None:
        yield Found("function", name, node, node.child_by_field_name("body"), public=not tree.of(name).startswith("_"))


def _assignment(tree: Tree, node: Node, scopes: list[Scope]) -> Iterator[Found]:
    name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
    around = scopes[-1]
    # "NAME=value command" is that command's only.
    if name is None or name.type != "variable_name" or around.kind == "command":
        return
    head = tree.slice(around.start, node.start_byte).split() if around.wrapper else []
    constant = head[:1] == ["readonly"] or any(word.startswith("-") and "r" in word for word in head)
    kind = "constant" if constant else "variable"
    labels = tuple(word for word in head if word == "export")
    yield Found(
        kind,
        name,
        node,
        labels=labels,
        value=tree.of(value) if constant else "",
        public=not tree.of(name).startswith("_"),
    )


def _command(tree: Tree, node: Node, scopes: list[Scope]) -> Iterator[Found | Import]:
    name = tree.of(node.child_by_field_name("name"))
    arguments = node.children_by_field_name("argument")
    line = node.start_point[0] + 1
    if name in {"source", "."} and arguments:
        module = tree.of(arguments[0]).strip("\"'")
        yield Import(line, module, kind="source", column=tree.column(arguments[0]))
    elif name == "alias":
        for one in arguments:
            alias, equals, _ = tree.of(one).partition("=")
            if equals:
                yield Found("function", alias, one, labels=("alias",))
    scopes.append(scopes[-1].command(node.end_byte))


_HANDLERS: dict[str, Handler] = {
    "function_definition": _function,
    "variable_assignment": _assignment,
    "command": _command,
}

_KEYWORDS = word_set(
    """
    case cd declare do done echo elif else esac eval exec exit export false fi for function if in local printf read
    readonly return select set shift source test then time trap true typeset unset until while
    """
)

_LOOKS = Looks(
    Look("security", "evaluated code", "eval", "evaluates a string", where=r"\beval\s"),
    Look("security", "downloads that are run", "curl|wget", "runs what it downloads",
         where=r"\b(?:curl|wget)\b.*\|\s*(?:sudo\s+)?(?:\w+/)*(?:ba|z|da|k)?sh\b|\b(?:ba|z|da|"
         r"k)?sh\s+-c\s.*(?:curl|wget)\b|<\(\s*(?:curl|wget)\b"),
    Look("security", "downloads", "curl|wget|scp|rsync|ftp", "network", where=ANYWHERE),
    Look("security", "unchecked certificates", "curl|wget", "a server's certificate isn't checked",
         where=r"\bcurl\b.*\s(?:-\w*k\w*|--insecure)(?:\s|$)|\bwget\b.*--no-check-certificate"),
    Look("security", "rights", "sudo|su|doas|chmod|chown|setcap", "changes rights",
         where=r"(?:^|[;&|(]|\bthen|\bdo)\s*(?:sudo|su|doas|chmod|chown|setcap)\s"),
    Look("security", "removed files", "rm", "removes files",
         where=r"(?:^|[;&|(]|\bthen|\bdo|sudo)\s*rm\s+(?:-\w*[rf]|\S*\$)"),
    Look("security", "temporary files", "tmp|mktemp", "temporary file", where=r"/tmp/|\bmktemp\b"),
    Look("security", "ssh", "ssh|ssh_keygen|keygen", "ssh",
         where=r"(?:^|[;&|(]|\bthen|\bdo)\s*ssh\b|StrictHostKeyChecking"),
    Look("performance", "processes in the background", "wait|nohup|parallel|xargs|coproc", "several processes",
         where=ANYWHERE),
    Look("performance", "locks", "flock|lockfile", "lock", where=ANYWHERE),
    Look("patterns", "strict mode", "set", "stops at errors", where=r"^\s*set\s+-\w*[eu]|^\s*set\s+-o\s"),
    Look("patterns", "cleanup", "trap", "done at the end or at a signal", where=r"\btrap\s"),
)  # fmt: skip

_GRAMMAR = Grammar(
    name="Shell",
    lexer="bash",
    module="tree_sitter_bash",
    handlers=_HANDLERS,
    keywords=_KEYWORDS,
    looks=_LOOKS,
    hidden=("raw_string", "ansi_c_string", "heredoc_content"),
    wrappers=("declaration_command",),
    local=frozenset({"variable_assignment"}),
    leaves=("variable_name", "command_name"),
    preamble=r"#!",
)


def read_shell(path: str, text: str) -> Facts:
    return read_tree(_GRAMMAR, path, text)


SHELL = Language(
    "Shell",
    "bash",
    read_shell,
    1,
    suffixes=(".sh", ".bash", ".zsh", ".ksh", ".bats"),
    names=(".bashrc", ".bash_profile", ".profile", ".zshrc"),
    interpreters=("sh", "bash", "zsh", "ksh", "dash", "ash"),
)
