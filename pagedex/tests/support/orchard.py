"""A repository of six files by hand: a package's core, what uses it, its test, its README, an image."""

from __future__ import annotations

from pagedex.model.facts import Facts, Finding, Import, Problem
from pagedex.model.files import FileKind
from pagedex.model.ties import Place
from tests.support.made import Made, defined

README = "# Orchard\n\nTrees as data. `Tree` is the base.\n\n## Use\n\nSee tree.py.\n"
APP = "from tree import Apple\n\n\ndef main():\n    tree = Apple()\n    return tree.height()\n"
TREE = '''"""Trees.

Security & Safety
-----------------
Reads no file.
"""
import os

__all__ = ["Tree", "Apple"]
LIMIT = 3


class Tree:
    """What every tree has. It is the base."""

    def height(self):
        raise ValueError(LIMIT)


class Apple(Tree):
    def height(self):
        return eval("1")


def _old():
    pass
'''
TEST = "from tree import Apple\n\n\ndef test_height():\n    assert Apple().height() == 1\n"


class Orchard(Made):
    """``readme``, ``app``, ``tree``, ``test``, ``logo`` and ``empty`` are the files' indexes."""

    def __init__(self) -> None:
        super().__init__(revision="f00d")
        sections = [
            defined("Orchard", "section", 1, end_line=7, column=2, doc="Trees as data. Tree is the base.", doc_line=3),
            defined("Use", "section", 5, end_line=7, column=3, qualname="Orchard > Use", doc="See tree.py.", parent=0),
        ]
        self.readme = self.add(
            "README.md",
            README,
            Facts(
                "Markdown",
                "markdown",
                "Trees as data. Tree is the base.",
                3,
                sections,
                identifiers={"Tree": (3,)},
                words={"trees": (3,), "data": (3,), "base": (3,)},
            ),
        )
        self.app = self.add(
            "app.py",
            APP,
            Facts("Python", "python", definitions=[defined("main", "function", 4, end_line=6, signature="def main()")]),
        )
        self.logo = self.add_unread("logo.png", FileKind.BINARY)
        self.test = self.add(
            "test_tree.py",
            TEST,
            Facts("Python", "python", definitions=[defined("test_height", "function", 4, end_line=5, column=4)]),
            test=True,
        )
        self.tree = self.add("tree.py", TREE, self._tree())
        self.empty = self.add("zero.py", "", Facts("Python", "python", problems=[Problem(1, "no code")]))
        self._tie()

    @staticmethod
    def _tree() -> Facts:
        height = {"signature": "def height(self)", "column": 8}
        above = {"qualname": "Tree.height", "raises": (("ValueError", 17),)}
        return Facts(
            "Python",
            "python",
            "Trees.\n\nSecurity & Safety\n-----------------\nReads no file.",
            1,
            [
                defined("LIMIT", "constant", 10, value="3"),
                defined(
                    "Tree",
                    "class",
                    13,
                    end_line=17,
                    column=6,
                    signature="class Tree",
                    doc="What every tree has. It is the base.",
                    doc_line=14,
                ),
                defined("height", "method", 16, end_line=17, parent=1, **above, **height),
                defined("Apple", "class", 20, end_line=22, column=6, signature="class Apple(Tree)", bases=("Tree",)),
                defined("height", "method", 21, end_line=22, qualname="Apple.height", parent=3, **height),
                defined("_old", "function", 25, end_line=26, column=4, signature="def _old()", public=False),
            ],
            [Import(7, "os")],
            identifiers={
                "os": (7,),
                "LIMIT": (10, 17),
                "Tree": (9, 13, 20),
                "height": (16, 21),
                "ValueError": (17,),
                "Apple": (9, 20),
                "_old": (25,),
                "__all__": (9,),
                "eval": (22,),
                "self": (16, 21),
            },
            words={"trees": (1,), "tree": (14,), "base": (14,), "file": (5,)},
            findings=[Finding("security", "eval and exec", 22, 'return eval("1")', 4)],
            looked_for={"security": ("eval and exec", "unpickling"), "performance": ("caches", "locks")},
            exports=("Tree", "Apple"),
        )

    def _tie(self) -> None:
        limit, tree, tree_height, apple, apple_height, _ = (Place(self.tree, index) for index in range(6))
        self.refers(self.readme, 7, self.tree)
        self.imports(self.app, 1, self.tree, "Apple")
        self.imports(self.test, 1, self.tree, "Apple")
        self.inherits(apple, tree)
        self.overrides(apple_height, tree_height)
        self.mention(self.app, 1, 17, apple)
        self.mention(self.app, 5, 11, apple, 0)
        self.mention(self.app, 6, 16, apple_height, 0)
        self.mention(self.test, 1, 17, apple)
        self.mention(self.test, 5, 11, apple, 0)
        self.mention(self.test, 5, 19, apple_height, 0, sure=False)
        self.mention(self.tree, 9, 12, tree)
        self.mention(self.tree, 9, 20, apple)
        self.mention(self.tree, 17, 25, limit, 2)
        self.mention(self.tree, 20, 12, tree)
