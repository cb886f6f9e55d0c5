"""A folder as a repository with its ties, as a build would see it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from pagedex.languages.python import PYTHON
from pagedex.model.ties import Repository
from pagedex.reading.tree import Selection, read_text, read_tree
from pagedex.resolving.resolve import resolve


def python_repository(root: Path, only: tuple[str, ...] = ()) -> Repository:
    """The Python files below a folder, read and resolved."""
    tree = read_tree(str(root), Selection(only=only))
    tree.files = [one for one in tree.files if one.path.endswith((".py", ".pyi"))]
    texts = [read_text(tree.root, one) for one in tree.files]
    facts = [PYTHON.read(one.path, text.text) if text else None for one, text in zip(tree.files, texts, strict=True)]
    lines = [text.text.split("\n") if text else [] for text in texts]
    return resolve(root.name, "", tree.files, facts, Path(tree.root).name, lines.__getitem__)


def site_packages_of(package: str) -> Path | None:
    """The folder that an installed package lies in, found without importing it."""
    spec = find_spec(package)
    return Path(spec.origin).parent.parent if spec is not None and spec.origin else None
