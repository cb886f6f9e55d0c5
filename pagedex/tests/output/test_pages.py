"""Pages in each form: whatever text they hold, it is shown as it is and stays text."""

from __future__ import annotations

import json
from html.parser import HTMLParser

from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from pagedex.model.blocks import (
    Block,
    Box,
    Bullets,
    Code,
    Fence,
    Fold,
    Heading,
    Link,
    Page,
    Paragraph,
    Picture,
    Section,
    Source,
    Strong,
    Table,
    Text,
    ToAddress,
    ToFile,
    ToFolder,
    ToKeywords,
    ToLine,
    ToPage,
)
from pagedex.output import highlight, html, markdown
from pagedex.output import json as json_output
from pagedex.output.site import Site

SITE = Site("demo", "abc", {"a/b.py": 9, "x.md": 1}, frozenset({"", "a"}))
HOSTILE = st.sampled_from(
    [
        "<script>alert(1)</script>",
        "</pre></code><b>",
        "```\n# x\n```",
        "a | b",
        "[x](javascript:alert(1))",
        "![y](z)",
        "&lt; &amp; &#60;",
        "{{ 7*7 }} {% raw %}",
        "1. one",
        "- one",
        "# one",
        "> one",
        "`a``b`",
        "*a* _b_ ~~c~~ $d$",
        "\\",
        "a\nb",
        "<a id='x'>",
        "]]>-->",
        "\"'",
        "<http://x.y>",
        "x\n===",
    ]
)
texts = HOSTILE | st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30).filter(str.strip)


def page(*blocks: Block, title: str = "Documentation: `a/b.py`") -> Page:
    return Page(title, ToPage("a/b.py"), "a/b.py", [Section("File Purpose", list(blocks))])


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    return reader


def all_blocks(text: str) -> list[Block]:
    return [
        Paragraph((text,)),
        Paragraph((Code(text), " ", Strong(text), " ", Link(text, ToLine("a/b.py", 3), code=True))),
        Bullets([(text,), (Link(text, ToAddress("javascript:alert(1)")),)]),
        Table(("one", text), [((text,), (Code(text),)), ((Link(text, ToKeywords("x.md")),), ())]),
        Heading(3, (Code(text),), anchor="d-x"),
        Text(text, names={text: ToPage("x.md", "d-y")}),
        Fence(text, "python"),
        Source("a/b.py", text, "python", [(1, 0, 3, ToPage("x.md", 'a"b'), text)]),
        Picture(text, [Box(text, 0, ToPage("a/b.py")), Box(text, 1)], [(0, 1), (1, 0)]),
        Fold((text,), [Paragraph((text,))]),
    ]


@settings(deadline=None)
@given(texts)
def test_html_stays_text(text: str) -> None:
    plain, hostile = (
        read(html.render(page(*all_blocks("word")), SITE)),
        read(html.render(page(*all_blocks(text), title=text), SITE)),
    )
    harmless = {"span", "a", "code", "summary"}
    assert [tag for tag in hostile.tags if tag not in harmless] == [tag for tag in plain.tags if tag not in harmless]
    assert not [one for one in hostile.attributes if one[1].startswith("on")]
    assert not [one for one in hostile.attributes if one[1] == "href" and (one[2] or "").startswith("javascript")]
    assert "".join(hostile.text).count(text) >= 9


@settings(deadline=None)
@given(texts)
def test_markdown_stays_text(text: str) -> None:
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    hostile = parser.parse(markdown.render(page(*all_blocks(text), title=text), SITE))
    plain = parser.parse(markdown.render(page(*all_blocks("word")), SITE))
    assert [one.type for one in hostile if one.type != "inline"] == [one.type for one in plain if one.type != "inline"]
    assert not [one for one in hostile if one.type == "html_block"]
    inner = [child for one in hostile for child in one.children or ()]
    assert [child.content for child in inner if child.type == "html_inline"] == ['<a id="d-x">', "</a>"]
    assert not [child for child in inner if child.type == "image"]
    assert {child.attrGet("href") for child in inner if child.type == "link_open"} <= {
        "#file-purpose",
        "#original-source",
        "../x.md_kw.md",
    }
    fences = [one.content for one in hostile if one.type == "fence"]
    assert fences == [text.rstrip("\n") + "\n" if text.endswith("\n") else text + "\n"] * 3


@given(texts)
def test_json_holds_the_same(text: str) -> None:
    said = json.loads(json_output.render(page(*all_blocks(text)), SITE))
    assert said["schema"] == "pagedex/page/1"
    blocks = said["sections"][0]["blocks"]
    assert [one["is"] for one in blocks] == (
        "paragraph paragraph bullets table heading text fence source picture fold".split()
    )
    assert blocks[0]["runs"] == [text]
    assert blocks[7]["text"] == text


def test_where_links_lead() -> None:
    about = page()
    inside = Site("demo", "abc", SITE.lines, SITE.folders, to_repository="..")
    hosted = Site("demo", "abc", SITE.lines, SITE.folders, source_url="https://h/{revision}/{path}#L{line}")
    line = ToLine("x.md", 1)
    assert SITE.address(about, line, "html") == "../x.md_docs.html#L1"
    assert SITE.address(about, ToLine("a/b.py", 2), "html") == "#L2"
    assert SITE.address(about, ToLine("a/b.py", 99), "html") == "#original-source"
    assert SITE.address(about, line, "md") == "../x.md_docs.md#original-source"
    assert inside.address(about, line, "md") == "../../x.md#L1"
    assert inside.address(about, ToFile("x.md"), "md") == "../../x.md"
    assert hosted.address(about, line, "md") == "https://h/abc/x.md#L1"
    assert hosted.address(about, ToFile("x.md"), "md") == "https://h/abc/x.md"
    assert SITE.address(about, ToPage("gone.py"), "html") == ""
    assert SITE.address(about, ToFolder("a", "sub"), "html") == "sub.html"
    assert SITE.address(about, ToFolder("gone"), "html") == ""
    assert SITE.address(about, ToAddress("data:text/html,x"), "html") == ""
    assert SITE.address(about, ToAddress("https://x.y"), "html") == "https://x.y"


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=200),
    st.sampled_from(["python", "c", "json", "text", "nonsense"]),
)
@settings(deadline=None)
def test_every_line_of_a_source_is_there(text: str, lexer: str) -> None:
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    shown = ["".join(read(line).text) for line in highlight.lines(text, lexer)]
    assert [one.replace("\0", "") for one in shown] == [one.replace("\0", "") for one in lines]


def test_links_in_a_source() -> None:
    (line,) = highlight.lines(
        "alpha = beta(alpha)", "python", lambda number: [(0, 5, "#a", "t"), (8, 7, "#b", 'q"'), (10, 1, "#c", "")]
    )
    assert '<a href="#a" title="t">alpha</a>' in line
    assert '<a href="#b" title="q&quot;">' in line
    assert "#c" not in line
    assert "".join(read(line).text) == "alpha = beta(alpha)"


def test_a_very_long_line_is_cut() -> None:
    (line,) = highlight.lines("x" * 100_000, "python")
    assert len(line) < 6_000
    assert "it is cut here" in line
