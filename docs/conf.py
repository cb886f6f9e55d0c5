"""The site of these pages: `sphinx-build -W --keep-going -n -b html docs build/docs`.

Every page is plain Markdown that reads as well on a code host. Pages that lie elsewhere in the repository, such as
`spec/`, are here by symbolic links, and a link leads where it leads from the file's real place: `Links` has the rules.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
CODE = "code"
"""Where `make docs` puts the pages of every file of this repository, which pagedex makes."""

project = "dcpx"
author = "the dcpx authors"
project_copyright = author
release = re.findall(r'^__version__ = "(.+)"$', (ROOT / "src/dcpx/__init__.py").read_text(encoding="utf-8"), re.M)[0]

extensions = ["myst_parser"]
exclude_patterns = ["design/*.py", "spec/reader", "spec/vectors"]
myst_heading_anchors = 3
myst_links_external_new_tab = False

html_theme = "furo"
html_title = f"dcpx {release}"
html_copy_source = False
html_show_sourcelink = False
templates_path = ["_templates"]
html_static_path = ["_static"]
html_css_files = ["search.css"]
html_context = {"code": CODE}
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/code.html",
        "sidebar/scroll-end.html",
    ]
}


class Links:
    """Rewrites a page's links to files of the repository: to the page where the file has one on this site; to its page
    among the pages of the code, where it is another file or a folder. Pictures are copied.

    MyST would take a link for one from the place where the symbolic link lies, or knows no page at its own.
    """

    _LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)#:\s]+)(#[^)\s]*)?\)")

    def __call__(self, app: Sphinx, docname: str, source: list[str]) -> None:
        pages = {Path(app.env.doc2path(name)).resolve(): name for name in app.env.found_docs}
        place = Path(app.env.doc2path(docname)).resolve().parent
        top = "../" * docname.count("/")

        def rewritten(found: re.Match[str]) -> str:
            picture, text, target, anchor = found[1], found[2], (place / found[3]).resolve(), found[4] or ""
            page = pages.get(target) or pages.get(target / "index.md") or pages.get(target / "README.md")
            if page is not None:
                return f'<a href="{top}{page}.html{anchor}">{text}</a>'
            if picture and target.is_file():
                return f"![{text}](/{os.path.relpath(target, DOCS)})"
            if not target.exists():
                return found[0]
            name = target.relative_to(ROOT).as_posix()
            name = f"{name}_docs.html" if target.is_file() else f"{name}/index.html"
            return f'<a href="{top}{CODE}/{name}{anchor}">{text}</a>'

        source[0] = self._LINK.sub(rewritten, source[0])


def setup(app: Sphinx) -> None:
    """Sphinx calls it."""
    app.add_lexer("mermaid", TextLexer)  # the drawing in design/0005-rooms.md, which code hosts draw
    app.connect("source-read", Links())
