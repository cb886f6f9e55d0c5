"""What the guide to trainers shows of a script is what the tests of the trainers run."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import ROOT, Block, blocks
from tests.trainers.test_trainings import TRAINERS

GUIDE = ROOT / "docs" / "trainers.md"
SHOWN = [block for block in blocks(GUIDE) if block.language == "py"]


@pytest.mark.parametrize("block", SHOWN, ids=lambda block: block.text.split("\n")[0].strip())
def test_a_part_of_the_script_that_is_linked_above_it(block: Block):
    above = GUIDE.read_text(encoding="utf-8")[: block.begin]
    script = re.findall(r"\[the whole script\]\((.+?)\)", above)[-1]
    assert block.text in (GUIDE.parent / script).read_text(encoding="utf-8")


def test_every_script_is_shown():
    linked = re.findall(r"\[the whole script\]\(\.\./tests/trainers/scripts/(\w+)\.py\)", GUIDE.read_text("utf-8"))
    assert set(linked) == {script.split()[0] for script in TRAINERS}
    assert len(SHOWN) >= len(linked)
