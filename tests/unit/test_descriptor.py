"""The descriptor grammar, example by example."""

from __future__ import annotations

import pytest

from dcpx import ExtensionError
from dcpx.descriptor import MAX_LENGTH, Descriptor, check_key


@pytest.mark.parametrize(
    ("text", "parsed", "key"),
    [
        ("stream.zstd", Descriptor("stream.zstd"), "stream.zstd"),
        ("stream.zstd/1", Descriptor("stream.zstd", "", "1"), "stream.zstd"),
        ("rot13@acme", Descriptor("rot13", "acme"), "rot13@acme"),
        ("rot13@acme/1.0", Descriptor("rot13", "acme", "1.0"), "rot13@acme"),
        # Only the first slash and the first @ mean something: the version is the extension's own.
        ("a@b/1:c@d/2,e", Descriptor("a", "b", "1:c@d/2,e"), "a@b"),
        ("a//", Descriptor("a", "", "/"), "a"),
        ("0_-.", Descriptor("0_-."), "0_-."),
    ],
)
def test_parts(text: str, parsed: Descriptor, key: str) -> None:
    assert Descriptor.parse(text) == parsed
    assert parsed.key == key
    assert str(parsed) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/1",
        "@acme",
        "a@",
        "a/",
        "a@/1",
        "a@b@c",
        ".a",
        "-a",
        "a@.b",
        "a b",
        " a",
        "a\n",
        "a/1\n",
        "a/1 2",
        "a/\x7f",
        "ä",
        "a/é",
        "\N{ARABIC-INDIC DIGIT ONE}",
        "a\0",
        "a" * (MAX_LENGTH + 1),
        None,
        b"stream.zstd/1",
        1,
        ["stream.zstd"],
    ],
)
def test_refused(text: object) -> None:
    with pytest.raises(ExtensionError, match=r"name\[@local-domain\]\[/version\]") as caught:
        Descriptor.parse(text)  # type: ignore[arg-type]
    assert isinstance(caught.value, ValueError)
    # However long or odd the text, the message is one line that fits a screen.
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_longest() -> None:
    assert str(Descriptor.parse("a" * MAX_LENGTH)) == "a" * MAX_LENGTH


def test_key_has_no_version() -> None:
    assert check_key("rot13@acme") == "rot13@acme"
    with pytest.raises(ExtensionError, match="no version"):
        check_key("rot13@acme/1")
    with pytest.raises(ExtensionError):
        check_key("rot13@")
