"""Markdown, reStructuredText and notebooks: what is found in small documents, with its lines."""

from __future__ import annotations

import json

import pytest

from pagedex.languages.tables import language_of
from pagedex.model.facts import Facts
from tests.languages.sources import found

MARKDOWN = """\
---
title: front_matter
---
# Title `code` here

First *paragraph* of
the text with `get_name(x)` and ZStandard. See [link
text](docs/a.md#x) and ![picture](i.png).

Sub
---
[there][r] An But If The foo. <https://a.b/some_path>

```python
# Comment words here
def foo_bar(x=None):
    return os.path.join("SomeString", x)
```

```
call_me(1) If The plainTxt
```

### Deep

| a | b |
|---|---|
| `cell` | [x](t.md) |

<img src="pic.png" alt="z"> <a href="p.html">

## Other

[r]: http://ref.er
"""

RESTRUCTURED = """\
=====
Title
=====

First paragraph with :class:`~Foo.Bar` and `text <http://x.y>`_::

    code_block_here(1)

Sub *em*
--------
Some ``literal_x`` text. An But If The.

.. code-block:: python
   :linenos:

   def foo(): pass

.. automodule:: a.mod
   :members:

.. toctree::
   :maxdepth: 2

   intro
   Text <usage/x>

.. image:: pic.png
   :alt: A pic

.. note:: Beware the dragon

   More prose here.

Deeper
~~~~~~
x

.. _lab: http://z

Not a title
--

Second
------
See :doc:`guide <docs/guide>`.
"""


def read(path: str, text: str) -> Facts:
    return language_of(path, "").read(path, text)


def references(facts: Facts) -> list[tuple[int, str, str]]:
    return [(one.line, one.text, one.target) for one in facts.references]


def test_markdown_sections() -> None:
    facts = read("a.md", MARKDOWN)
    assert found(facts) == [
        ("section", "Title code here", 4, 34, 2),
        ("section", "Title code here > Sub", 10, 30, 0),
        ("section", "Title code here > Sub > Deep", 24, 30, 4),
        ("section", "Title code here > Other", 32, 34, 3),
    ]
    assert [one.parent for one in facts.definitions] == [-1, 0, 1, 0]
    assert facts.doc == "First paragraph of the text with get_name(x) and ZStandard. See link text and ."
    assert facts.doc_line == 6
    assert (facts.definitions[0].doc_line, facts.definitions[1].doc_line) == (6, 12)


def test_markdown_references() -> None:
    assert references(read("a.md", MARKDOWN)) == [
        (8, "link text", "docs/a.md#x"),
        (8, "picture", "i.png"),
        (12, "there", "http://ref.er"),
        (12, "https://a.b/some_path", "https://a.b/some_path"),
        (28, "x", "t.md"),
        (30, "", "pic.png"),
        (30, "", "p.html"),
    ]


def test_markdown_identifiers_and_words() -> None:
    facts = read("a.md", MARKDOWN)
    assert facts.identifiers == {
        "code": (4,),
        "get_name": (7,),
        "ZStandard": (7,),
        "foo_bar": (16,),
        "None": (16,),
        "os": (17,),
        "path": (17,),
        "join": (17,),
        "SomeString": (17,),
        "call_me": (21,),
        "plainTxt": (21,),
        "cell": (28,),
    }
    assert facts.words["paragraph"] == (6,)
    assert facts.words["comment"] == (15,)
    assert "docs" not in facts.words


@pytest.mark.parametrize(
    ("fence", "names"),
    [
        ("```c\nint main(void) { return NULL; } // see some_name\n```", {"main", "NULL", "some_name"}),
        ("```{code-block} python\nimport numpy\n```", {"numpy"}),
        ("```unheard-of\nIf this: call(it)\n```", {"call"}),
        ("    An indented block with a_name\n", {"a_name"}),
        ("```{note}\nSome PlainText here\n```", {"PlainText"}),
    ],
)
def test_fences(fence: str, names: set[str]) -> None:
    assert set(read("a.md", fence).identifiers) == names


def test_headings_inside_of_code_are_none() -> None:
    assert found(read("a.md", "```sh\n# not one\n```\n\n# one\n")) == [("section", "one", 5, 5, 2)]


def test_restructured_sections() -> None:
    facts = read("a.rst", RESTRUCTURED)
    assert found(facts) == [
        ("section", "Title", 2, 45, 0),
        ("section", "Title > Sub em", 9, 41, 0),
        ("section", "Title > Sub em > Deeper", 34, 41, 0),
        ("section", "Title > Second", 43, 45, 0),
    ]
    assert (facts.doc, facts.doc_line) == ("First paragraph with Foo.Bar and text:", 5)
    assert [(one.doc, one.doc_line) for one in facts.definitions[1:3]] == [
        ("Some literal_x text. An But If The.", 11),
        ("x", 36),
    ]


def test_restructured_references() -> None:
    assert references(read("a.rst", RESTRUCTURED)) == [
        (5, "text", "http://x.y"),
        (24, "", "intro"),
        (25, "Text", "usage/x"),
        (27, "A pic", "pic.png"),
        (38, "lab", "http://z"),
        (45, "guide", "docs/guide"),
    ]


def test_restructured_identifiers_and_words() -> None:
    facts = read("a.rst", RESTRUCTURED)
    assert facts.identifiers == {
        "Foo": (5,),
        "Bar": (5,),
        "code_block_here": (7,),
        "literal_x": (11,),
        "foo": (16,),
        "mod": (18,),
    }
    assert facts.words["dragon"] == (30,)
    assert facts.words["prose"] == (32,)


def test_a_notebook_has_the_lines_of_its_file() -> None:
    text = json.dumps(
        {
            "cells": [
                {
                    "cell_type": "markdown",
                    "metadata": {},
                    "source": ["# A title\n", "\n", "See [it](a.md) and some_name."],
                },
                {"cell_type": "code", "outputs": [], "source": ["import numpy\n", "# comment words\n"]},
            ],
            "metadata": {"language_info": {"name": "python"}},
        },
        indent=1,
    )
    lines = text.split("\n")
    facts = read("a.ipynb", text)
    title = next(number for number, line in enumerate(lines, 1) if "A title" in line)
    code = next(number for number, line in enumerate(lines, 1) if "numpy" in line)
    assert [(one.name, one.line) for one in facts.definitions] == [("A title", title)]
    assert references(facts) == [(title + 2, "it", "a.md")]
    assert facts.identifiers == {"some_name": (title + 2,), "numpy": (code,)}
    assert facts.words["comment"] == (code + 1,)


def test_a_notebook_on_one_line_is_plain_text() -> None:
    facts = read("a.ipynb", '{"cells": [{"cell_type": "code", "source": ["some_name"]}]}')
    assert facts.definitions == []
    assert "some_name" in facts.identifiers
