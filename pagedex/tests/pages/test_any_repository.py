"""Of any facts pages are made that keep their promises."""

from __future__ import annotations

import re
import string

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pagedex.index.keywords import keyword_page
from pagedex.model.blocks import Bullets, Page, Paragraph, ToLine, ToPage
from pagedex.model.facts import KINDS, Definition, Facts, Finding, Import
from pagedex.model.files import FileKind
from pagedex.model.ties import Place
from pagedex.pages.authored import SECTIONS
from pagedex.pages.file_page import file_page
from pagedex.pages.tables import Tables
from tests.support.made import Made
from tests.support.plain import anchors_of, every_block, plain, runs_of, targets_of

_NAMES = st.text(string.ascii_letters + "_ é<~:", min_size=1, max_size=6)
_PROSE = st.text(string.ascii_letters + " .\n&:#-`", max_size=60)
_LINES = 12


@st.composite
def _facts(draw: st.DrawFn) -> Facts:
    language, lexer = draw(st.sampled_from((("Python", "python"), ("C++", "cpp"), ("Markdown", "markdown"))))
    facts = Facts(language, lexer, draw(_PROSE).strip(), 1)
    for index in range(draw(st.integers(0, 6))):
        name = draw(_NAMES)
        line = draw(st.integers(1, _LINES))
        facts.definitions.append(
            Definition(
                name,
                name,
                draw(st.sampled_from(sorted(KINDS))),
                line,
                draw(st.integers(line, _LINES)),
                column=draw(st.integers(0, 4)),
                doc=draw(_PROSE).strip(),
                doc_line=line,
                decorators=tuple(draw(st.lists(st.sampled_from(("cache", "x.register('a')")), max_size=2))),
                raises=tuple((what, line) for what in draw(st.lists(st.just("ValueError"), max_size=2))),
                labels=tuple(draw(st.lists(st.sampled_from(("async", "abstract", "dataclass")), unique=True))),
                parent=draw(st.integers(-1, index - 1)),
                public=draw(st.booleans()),
            )
        )
    for line in draw(st.lists(st.integers(1, _LINES), max_size=3)):
        facts.imports.append(Import(line, draw(_NAMES), draw(st.sampled_from(("", "*", "x")))))
    names = [one.name for one in facts.definitions] + draw(st.lists(_NAMES, max_size=3))
    facts.identifiers = {name: (draw(st.integers(1, _LINES)),) for name in names}
    facts.words = {name.lower(): (1,) for name in draw(st.lists(_NAMES, max_size=3))}
    topics = ("eval and exec", "unpickling", "sockets")
    facts.looked_for = {"security": topics} if draw(st.booleans()) else {}
    if facts.looked_for:
        for topic in draw(st.lists(st.sampled_from(topics), max_size=2)):
            around = draw(st.integers(-1, len(facts.definitions) - 1))
            facts.findings.append(Finding("security", topic, 1, "code", around))
    return facts


@st.composite
def _made(draw: st.DrawFn) -> Made:
    made = Made()
    for number in range(draw(st.integers(1, 4))):
        text = "\n".join(draw(st.lists(st.text(string.ascii_letters + " ()é", max_size=9), max_size=_LINES)))
        made.add(f"f{number}.py", text + "\n" * (_LINES - text.count("\n")), draw(_facts()), test=draw(st.booleans()))
    if draw(st.booleans()):
        kind = draw(st.sampled_from((FileKind.BINARY, FileKind.HUGE, FileKind.LINK)))
        made.add_unread("z.bin", kind, "symbolic link to x" if kind is FileKind.LINK else "")
    places = [
        Place(file, index)
        for file, facts in enumerate(made.repository.facts)
        for index, _ in enumerate(facts.definitions if facts is not None else ())
    ]
    readable = [file for file, facts in enumerate(made.repository.facts) if facts is not None]
    for _ in range(draw(st.integers(0, 12)) if places else 0):
        file = draw(st.sampled_from(readable))
        facts = made.repository.facts[file]
        assert facts is not None
        line, column = draw(st.integers(1, _LINES)), draw(st.integers(0, 6))
        within = draw(st.integers(-1, len(facts.definitions) - 1))
        made.mention(file, line, column, draw(st.sampled_from(places)), within, sure=draw(st.booleans()))
    for _ in range(draw(st.integers(0, 3)) if len(readable) > 1 else 0):
        one, other = draw(st.permutations(readable))[:2]
        if draw(st.booleans()):
            made.imports(one, draw(st.integers(1, _LINES)), other, draw(_NAMES))
        else:
            made.refers(one, draw(st.integers(1, _LINES)), other)
    for _ in range(draw(st.integers(0, 2)) if len(places) > 1 else 0):
        one_place, other_place = draw(st.permutations(places))[:2]
        draw(st.sampled_from((made.inherits, made.overrides)))(one_place, other_place)
    return made


def _pages(made: Made) -> list[Page]:
    tables = Tables(made.repository, made.text_of)
    return [file_page(tables, file, made.texts[file]) for file in range(len(made.texts))]


_ANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@_ANY
@given(_made())
def test_sections_anchors_and_links(made: Made):
    pages = _pages(made)
    anchors = {page.here: anchors_of(page) for page in pages}
    lines = {file.path: file.lines for file in made.repository.files}
    for file, page in enumerate(pages):
        assert [section.title for section in page.sections] == list(SECTIONS)
        assert all(section.blocks for section in page.sections)
        assert len(set(anchors[page.here])) == len(anchors[page.here])
        for one in (page, keyword_page(made.repository, file, page)):
            for to in targets_of(one):
                if isinstance(to, ToPage):
                    assert ToPage(to.path) in anchors
                    assert not to.anchor or to.anchor in anchors[ToPage(to.path)]
                elif isinstance(to, ToLine):
                    assert 1 <= to.line <= lines[to.path]


@_ANY
@given(_made())
def test_no_two_files_say_the_same_unless_they_say_what_was_looked_for(made: Made):
    said: dict[str, int] = {}
    for number, page in enumerate(_pages(made)):
        for block in every_block(page):
            for runs in runs_of(block) if isinstance(block, Paragraph | Bullets) else ():
                text = plain(runs)
                # What has a name, a number or a line is a fact of its file, whatever another file's may be.
                is_filler = re.search(r"[a-z]{2,} [a-z]{2,} [a-z]{2,}", text) and not re.search(r"[\[`\d]", text)
                if is_filler and "Looked for" not in text:
                    assert said.setdefault(text, number) == number, text


@_ANY
@given(_made())
def test_numbers_agree_with_lists(made: Made):
    for page in _pages(made):
        for section in page.sections:
            for block, after in zip(section.blocks, section.blocks[1:], strict=False):
                for runs in runs_of(block):
                    counted = re.search(r"\b(\d+) (?:places?|files?) in (\d+) files?:$", plain(runs))
                    if counted:
                        assert len(list(runs_of(after))) == int(counted.group(2))
