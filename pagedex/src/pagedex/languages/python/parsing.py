"""A syntax tree of any text: of all of it, or of what is left when the statements that don't parse are taken out."""

from __future__ import annotations

import ast
import re
import warnings

from pagedex.model.facts import Problem

# Each attempt parses the file anew, so there is an end to them.
_ATTEMPTS = 24
_TOP = re.compile(r"[^\s#)\]}]")


def parse(text: str) -> tuple[ast.Module, list[Problem]]:
    """The tree of what parses, and a problem for each piece that doesn't; lines keep their numbers.

    A piece is a whole statement at the module's level: from the line that begins it to the next such line.
    """
    problems: list[Problem] = []
    lines = text.split("\n")
    for _ in range(_ATTEMPTS):
        tree = _tree("\n".join(lines))
        if isinstance(tree, ast.Module):
            return tree, problems
        line, message = tree
        first, last = _statement(lines, line)
        if first is None:
            break
        where = f"line {first + 1} doesn't" if last == first + 1 else f"lines {first + 1} to {last} don't"
        problems.append(Problem(line, f"{where} parse as Python, so they are shown and not analysed: {message}"))
        lines[first:last] = [""] * (last - first)
    # Too much is broken, or the parser says nothing of where.
    problems = problems[:1] or [Problem(line, f"doesn't parse as Python: {message}")]
    problems.append(Problem(0, "the whole file is read as plain text"))
    return ast.Module(body=[], type_ignores=[]), problems


def _tree(text: str) -> ast.Module | tuple[int, str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except SyntaxError as error:
        return error.lineno or 0, error.msg
    except (RecursionError, MemoryError):
        return 0, "nested too deeply for Python's own parser"
    except ValueError as error:
        return 0, str(error)


def _statement(lines: list[str], line: int) -> tuple[int | None, int]:
    """The lines, from 0 and without the last, of the statement at the module's level around ``line``."""
    if not 1 <= line <= len(lines) + 1:
        return None, 0
    first = min(line, len(lines)) - 1
    while first > 0 and not _TOP.match(lines[first]):
        first -= 1
    while first > 0 and lines[first - 1].startswith("@"):
        first -= 1
    last = max(first + 1, line)
    while last < len(lines) and not _TOP.match(lines[last]):
        last += 1
    if not any(one.strip() for one in lines[first:last]):
        return None, 0
    return first, last
