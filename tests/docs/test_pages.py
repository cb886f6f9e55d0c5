"""Every page does what it shows, and everything that it shows as said is really said."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcpx import errors, registry
from tests.docs.pages import ROOT, blocks, plain, run

PAGES = ["README.md", *(f"docs/{page.name}" for page in sorted((ROOT / "docs").glob("*.md")) if not page.is_symlink())]

BEFORE = {
    "README.md": {
        "import torch.distributed.checkpoint as dcp": """
import torch, dcpx
state = {"w": torch.arange(3000.0), "step": 7}
""",
        "report = dcpx.verify": """
from pathlib import Path
torch.manual_seed(0)
state = {"model": {"w": torch.rand(250_000).bfloat16()}, "step": 1000}
dcpx.save(state, "ckpt/step-1000", overwrite=True)
(data,) = Path("ckpt/step-1000").glob("*.distcp")
content = bytearray(data.read_bytes())
content[len(content) // 2] ^= 1
data.write_bytes(content)
""",
    },
    "docs/guarantees.md": {
        "report = dcpx.verify": """
import shutil, torch, dcpx
from pathlib import Path
state = {"w": torch.arange(3000.0), "step": 1000}
dcpx.save(state, "ckpt/step-1000")
""",
        "dcpx.restore_pointer": """
shutil.copytree("ckpt/step-1000", "copy")
Path("copy/.metadata").unlink()
""",
    },
    "docs/trust.md": {
        "dcpx.load(state, path": """
import torch, dcpx
class Recipe: pass
path, state = "ckpt", {"recipe": Recipe()}
dcpx.save(state, path)
""",
    },
}
"""What some blocks need that their page doesn't show, by how they begin."""


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::dcpx.DcpxWarning")
def test_a_page_does_what_it_shows(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    # Errors list the known extensions: those of other tests aren't.
    monkeypatch.setattr(registry, "_plug_ins", dict)
    registry.default_registry.cache_clear()
    (tmp_path / "spec").symlink_to(ROOT / "spec")
    for said in run(ROOT / page, BEFORE.get(page)):
        assert plain(said.shown) == plain(said.really)


def test_the_errors_in_the_readme_are_shown_by_the_guide():
    """Where they are compared with what is raised."""
    (quoted,) = (block.text for block in blocks(ROOT / "README.md") if block.text.startswith("dcpx.errors."))
    shown = {plain(block.text) for block in blocks(ROOT / "docs/errors.md") if block.language == "text"}
    assert {plain(text) for text in quoted.split("\n\n")} <= shown


def test_every_error_is_shown_by_the_guide():
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
    guide = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    shown = "".join(block.text for block in blocks(ROOT / "docs/errors.md") if block.language == "text")
    for name in kinds - {"DcpxError"}:
        bases = [base.__name__ for base in getattr(errors, name).__bases__ if base is not errors.DcpxError]
        assert f"| [`{name}`](#{name.lower()}) | {', '.join(f'`{base}`' for base in bases)} |" in guide
        assert f"\n## {name}\n" in guide
        assert f"dcpx.errors.{name}: " in shown
    assert len(kinds) == 14
