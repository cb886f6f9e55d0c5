"""JavaScript and TypeScript: what is found in a small source, with its lines."""

from __future__ import annotations

import pytest

from pagedex.languages.tables import language_of
from pagedex.model.facts import Facts
from tests.languages.sources import found, imported, looked, named

SOURCE = """\
#!/usr/bin/env node
/* Licensed under the MIT license. */

/** Searches the index. */
'use strict';
import search, { rank as order } from './search.js';
const fs = require('fs');

/** How many. */
export const LIMIT = 10;
let _state = null;

/**
 * Finds words.
 */
export class Finder extends Base {
  #cache = new Map();
  static async find(word) {
    const local = `eval(${word.trimEnd()})`;
    return local;
  }
  get size() { return 1; }
}

const show = async (node) => {
  node.innerHTML = word_of(node); // see show_all
};

exports.run = function (text) {
  return eval(text);
};
Finder.prototype.close = function () {};

function* walk() {}
"""


@pytest.fixture(scope="module")
def facts() -> Facts:
    return language_of("a.js", SOURCE.split("\n")[0]).read("a.js", SOURCE)


def test_definitions(facts: Facts) -> None:
    assert found(facts) == [
        ("constant", "LIMIT", 10, 10, 13),
        ("variable", "_state", 11, 11, 4),
        ("class", "Finder", 16, 23, 13),
        ("member", "Finder.#cache", 17, 17, 2),
        ("method", "Finder.find", 18, 21, 15),
        ("property", "Finder.size", 22, 22, 6),
        ("function", "show", 25, 27, 6),
        ("function", "run", 29, 31, 8),
        ("method", "Finder.close", 32, 32, 17),
        ("function", "walk", 34, 34, 10),
    ]
    assert [one.qualname for one in facts.definitions if not one.public] == [
        "_state",
        "Finder.#cache",
    ]


def test_imports(facts: Facts) -> None:
    assert imported(facts) == [
        (6, "import", "./search.js", "default", "search"),
        (6, "import", "./search.js", "rank", "order"),
        (7, "require", "fs", "", ""),
    ]


def test_findings(facts: Facts) -> None:
    assert looked(facts) == [
        (18, "performance", "async"),
        (25, "performance", "async"),
        (26, "security", "markup that isn't escaped"),
        (30, "security", "evaluated code"),
    ]


TYPESCRIPT = """\
import type { Node } from './node';
export * from './all';

/** What is found. */
export interface Hit extends Base, Other {
  line: number;
  show(): void;
}

type Word = string | number;

enum Kind {
  Raw,
  Packed = 2,
}

namespace Pages {
  export const title = 'x';
}

@Injectable()
export abstract class Finder<T> extends Base<T> implements Hit {
  private readonly cache?: Map<string, T>;
  constructor(public size: number) { super(); }
  abstract find(word: string): Promise<T>;
}

declare function native(x: number): void;
"""


@pytest.fixture(scope="module")
def typescript() -> Facts:
    return language_of("a.ts", TYPESCRIPT.split("\n")[0]).read("a.ts", TYPESCRIPT)


def test_typescript_definitions(typescript: Facts) -> None:
    assert found(typescript) == [
        ("interface", "Hit", 5, 8, 17),
        ("member", "Hit.line", 6, 6, 2),
        ("method", "Hit.show", 7, 7, 2),
        ("type", "Word", 10, 10, 5),
        ("enum", "Kind", 12, 15, 5),
        ("constant", "Kind.Raw", 13, 13, 2),
        ("constant", "Kind.Packed", 14, 14, 2),
        ("namespace", "Pages", 17, 19, 10),
        ("constant", "Pages.title", 18, 18, 15),
        ("class", "Finder", 22, 26, 22),
        ("member", "Finder.cache", 23, 23, 19),
        ("method", "Finder.constructor", 24, 24, 2),
        ("method", "Finder.find", 25, 25, 11),
        ("function", "native", 28, 28, 17),
    ]
    assert [one.qualname for one in typescript.definitions if not one.public] == [
        "Finder.cache",
    ]


def test_typescript_imports(typescript: Facts) -> None:
    assert imported(typescript) == [
        (1, "import", "./node", "Node", ""),
        (2, "import", "./all", "*", ""),
    ]


def test_typescript_findings(typescript: Facts) -> None:
    assert looked(typescript) == [
        (25, "performance", "async"),
    ]


def test_documentation_labels_and_bases(facts: Facts) -> None:
    assert (facts.doc, facts.doc_line) == ("Searches the index.", 4)
    finder = named(facts, "Finder")
    assert (finder.doc, finder.doc_line, finder.bases) == ("Finds words.", 13, ("Base",))
    assert named(facts, "Finder.find").labels == ("static", "async")
    assert named(facts, "show").labels == ("async",)
    assert named(facts, "LIMIT").value == "10"
    assert facts.identifiers["show_all"] == (26,)
    # Of a template, what is put in is code.
    assert facts.identifiers["trimEnd"] == (19,)
    assert facts.identifiers["eval"] == (30,)


def test_typescript_decorators_and_bases(typescript: Facts) -> None:
    finder = named(typescript, "Finder")
    assert (finder.bases, finder.labels) == (("Base", "Hit"), ("abstract",))
    assert finder.signature.startswith("@Injectable() export abstract class Finder<T>")
    assert named(typescript, "Hit").bases == ("Base", "Other")


def test_jsx() -> None:
    text = (
        "/** Shows. */\nexport function Page({ title }) {\n"
        "  return <h1 className={style_of(title)}>Some Words eval(</h1>;\n}\n"
    )
    for path in ("a.jsx", "a.tsx"):
        facts = language_of(path, "").read(path, text)
        assert found(facts) == [("function", "Page", 2, 4, 16)]
        assert facts.identifiers["style_of"] == (3,)
        assert "Words" not in facts.identifiers
        assert facts.problems == []


def test_functions_inside_of_others_are_found_and_locals_are_not() -> None:
    text = "(function () {\n  const local = 1;\n  function inner() {\n    let deeper;\n  }\n})();\n"
    assert found(language_of("a.js", "").read("a.js", text)) == [("function", "inner", 3, 5, 11)]
