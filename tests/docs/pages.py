"""Runs what a page shows, from its top to its end, in one namespace and one folder, and holds it against the page.

    python -m tests.docs.pages docs/errors.md ...     # puts what is really said in the place of what the pages show

In a page of Markdown

- a `python` block whose first line is `# NAME.py` is a file of that name, for the blocks that follow;
- any other `python` block is run. A `text` block right behind it is what it prints, the DcpxWarnings that it gives, and
  the error that it ends with, in this order;
- a `console` block has commands, each after a `$`, and what they print;
- blocks of other languages, or of none, are left alone.

Lines may be wrapped otherwise, UUIDs and times be others, and what was partly filled when a load failed depends on
threads.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
import textwrap
import types
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dcpx import DcpxWarning

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# (\w+\.py)\n")
_PARTLY = re.compile(r"(?<=partly filled may be ).*?(?= \(file )")
_TIME = re.compile(r"(?<= in )\d+\.\d+s")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and where this stands in the page."""

    language: str
    text: str
    begin: int
    end: int
    follows: bool
    """Whether nothing stands between it and the block before."""


@dataclass(frozen=True)
class Said:
    """What a page shows of what was said, where it shows it, and what really was said."""

    shown: str
    really: str
    begin: int
    end: int

    @property
    def same(self) -> bool:
        return plain(self.shown) == plain(self.really)


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    found: list[Block] = []
    for match in _BLOCK.finditer(text):
        follows = bool(found) and not text[found[-1].end + len("```") : match.start()].strip()
        found.append(Block(match[1], match[2], match.start(2), match.end(2), follows))
    return found


def plain(said: str) -> str:
    """A text without what may differ from one run to the next."""
    return _TIME.sub("...", _PARTLY.sub("...", " ".join(_UUID.sub("UUID", said).split())))


def run(page: Path, before: Mapping[str, str] | None = None) -> Iterator[Said]:
    """Run the page in the current folder, in which `spec` leads to that of the repository.

    `before` has code that is run before the blocks that begin with its keys, where they need what the page doesn't
    show. Raises whatever a block raises whose error the page doesn't show.
    """
    with _as_main() as main:
        found = blocks(page)
        for number, block in enumerate(found):
            after = found[number + 1] if number + 1 < len(found) else None
            shown = after is not None and after.follows and after.language == "text"
            for begin, code in (before or {}).items():
                if block.text.startswith(begin):
                    exec(code, main)
            if block.language == "console":
                yield Said(block.text, _commands(block.text), block.begin, block.end)
            elif block.language == "python" and (file := _FILE.match(block.text)):
                Path(file[1]).write_text(block.text, encoding="utf-8")
            elif block.language == "python":
                said, error = _execute(block, page, main)
                if error is not None and not shown:
                    raise error
                if after is not None and shown:
                    yield Said(after.text, said, after.begin, after.end)


def _execute(block: Block, page: Path, namespace: dict[str, object]) -> tuple[str, BaseException | None]:
    """What is said by a block, and the error that it ends with."""
    line = page.read_text(encoding="utf-8").count("\n", 0, block.begin)
    code = compile("\n" * line + block.text, page, "exec")  # so that errors name the page's lines
    printed, failure = io.StringIO(), None
    with warnings.catch_warnings(record=True) as given, contextlib.redirect_stdout(printed):
        warnings.simplefilter("always", DcpxWarning)
        try:
            exec(code, namespace)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 (DCP's CheckpointException is no Exception)
            failure = error
    said = [printed.getvalue().rstrip()]
    said += [_told(one.message) for one in given if issubclass(one.category, DcpxWarning)]
    said += [_told(failure)] if failure is not None else []
    return "\n".join(filter(None, said)), failure


def _told(error: BaseException | str) -> str:
    """As Python's last line of a traceback tells of it."""
    kind = type(error)
    return f"{'' if kind.__module__ == 'builtins' else kind.__module__ + '.'}{kind.__qualname__}: {error}"


def _commands(block: str) -> str:
    """The commands with what they print, standard error included. Raises AssertionError for one that fails."""
    environment = {**os.environ, "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))}
    said = []
    for command in re.findall(r"^\$ (.*)$", block, re.MULTILINE):
        ran = subprocess.run(
            ["bash", "-c", command],
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert ran.returncode == 0, f"{command}\n{ran.stdout}"
        said += [f"$ {command}", ran.stdout.rstrip()]
    return "\n".join(filter(None, said))


@contextlib.contextmanager
def _as_main() -> Iterator[dict[str, object]]:
    """A namespace whose classes can be pickled, as those of a script."""
    kept, path, known = sys.modules["__main__"], sys.path.copy(), set(sys.modules)
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    sys.path.insert(0, os.getcwd())
    try:
        yield vars(main)
    finally:
        sys.modules["__main__"] = kept
        sys.path[:] = path
        for name in set(sys.modules) - known:
            if (file := getattr(sys.modules[name], "__file__", None)) and Path(file).parent == Path.cwd():
                del sys.modules[name]


def _wrapped(said: str) -> str:
    lines = (textwrap.wrap(line, 120, break_on_hyphens=False, break_long_words=False) for line in said.splitlines())
    return "".join(f"{line}\n" for parts in lines for line in parts or [""])


def main(pages: list[str]) -> None:
    from tests.docs.test_pages import BEFORE

    for name in pages:
        page = (ROOT / name).resolve()
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            Path("spec").symlink_to(ROOT / "spec")
            changed = [one for one in run(page, BEFORE.get(name)) if not one.same]
        text = page.read_text(encoding="utf-8")
        for one in reversed(changed):
            text = text[: one.begin] + _wrapped(one.really) + text[one.end :]
        page.write_text(text, encoding="utf-8")
        print(f"{name}: {len(changed)} changed")


if __name__ == "__main__":
    main(sys.argv[1:])
