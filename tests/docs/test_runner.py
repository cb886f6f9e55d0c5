"""The runner of pages notices what a page shows wrongly."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import Said, blocks, run

PAGE = """# A page

```python
# helper.py
def double(number):
    return 2 * number
```

```python
from helper import double

print(double(21))
```

```text
42
```

Words.

```python
import uuid, warnings
from dcpx import DcpxWarning

class Own:
    pass

print(Own.__module__, uuid.uuid4())
warnings.warn("beware", DcpxWarning)
double(None)
```

```text
__main__ 01234567-89ab-cdef-0123-456789abcdef
dcpx.errors.DcpxWarning: beware
TypeError: unsupported operand type(s) for *:
'int' and 'NoneType'
```

```console
$ python -c 'from helper import double; print(double(4))'
8
```

```
not run
```
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def said(text: str, before: dict[str, str] | None = None) -> list[Said]:
    page = Path("page.md")
    page.write_text(text)
    return list(run(page, before))


def test_what_is_true():
    assert [one.same for one in said(PAGE)] == [True, True, True]


@pytest.mark.parametrize(
    ("old", "new"), [("42", "43"), ("beware\n", "be aware\n"), ("'int'", "'str'"), ("\n8\n", "\n9\n")]
)
def test_what_is_not(old: str, new: str):
    wrong = PAGE.replace(old, new)
    assert wrong != PAGE
    assert [one.same for one in said(wrong)].count(False) == 1


def test_an_error_that_is_not_shown():
    with pytest.raises(ZeroDivisionError):
        said("```python\n1 / 0\n```\n\nWords.\n\n```text\nZeroDivisionError: division by zero\n```\n")


def test_a_command_that_fails():
    with pytest.raises(AssertionError, match="no such thing"):
        said("```console\n$ echo no such thing; exit 1\nno such thing\n```\n")


def test_what_a_block_needs():
    page = "```python\nprint(number)\n```\n\n```text\n7\n```\n"
    assert [one.same for one in said(page, {"print(number)": "number = 7"})] == [True]


def test_blocks_of_a_page(tmp_path: Path):
    (tmp_path / "page.md").write_text(PAGE)
    found = blocks(tmp_path / "page.md")
    assert [block.language for block in found] == ["python", "python", "text", "python", "text", "console", ""]
    assert [block.follows for block in found] == [False, True, True, False, True, True, True]
