"""``llms.txt``: where programs that read find the pages as plain Markdown (llmstxt.org)."""

from __future__ import annotations

from collections.abc import Sequence

from pagedex.model.blocks import ToFolder, ToPage
from pagedex.model.files import display
from pagedex.output import names
from pagedex.output.markdown import escaped
from pagedex.output.site import Site

# A file of its own stands in the list as long as there are so many; above, its folder leads to it.
_MOST_FILES = 2000


def llms_txt(site: Site, described: Sequence[tuple[str, str]]) -> str:
    """The text: ``described`` are the files' paths, each with one sentence, in order."""
    lines = [
        f"# {escaped(site.name)}",
        "",
        f"> {len(described)} files, each with a page: what it is for, its source, its definitions and who uses them,",
        "> what it imports and who imports it, with the line of everything. Pages are Markdown; the same pages as",
        "> HTML and JSON lie beside them.",
        "",
    ]
    if site.revision:
        lines += [f"Revision: {site.revision}", ""]
    lines += ["## Folders", ""]
    for folder in sorted(site.folders):
        for_folder = names.encoded(site.name_of(ToFolder(folder), "md"))
        lines.append(f"- [{escaped(display(folder) or site.name)}]({for_folder}): its files, with a sentence each")
    if len(described) <= _MOST_FILES:
        lines += ["", "## Files", ""]
        for path, sentence in described:
            address = names.encoded(site.name_of(ToPage(path), "md"))
            lines.append(f"- [{escaped(display(path))}]({address})" + (f": {escaped(sentence)}" if sentence else ""))
    return "\n".join(lines) + "\n"
