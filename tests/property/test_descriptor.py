"""The descriptor grammar: what parses is what was written, and nothing else gets through or crashes."""

from __future__ import annotations

import re
import string

from hypothesis import example, given
from hypothesis import strategies as st

from dcpx import ExtensionError
from dcpx.descriptor import MAX_LENGTH, Descriptor

_ALNUM = string.ascii_letters + string.digits
_words = st.builds(str.__add__, st.sampled_from(_ALNUM), st.text(_ALNUM + "._-", max_size=30))
_versions = st.text("".join(map(chr, range(0x21, 0x7F))), max_size=100)
_descriptors = st.builds(Descriptor, _words, st.just("") | _words, _versions)


@given(_descriptors)
def test_what_was_written_is_read(descriptor: Descriptor) -> None:
    assert Descriptor.parse(str(descriptor)) == descriptor
    assert Descriptor.parse(descriptor.key).key == descriptor.key


@given(st.text() | st.text(_ALNUM + "@/._-% \n", max_size=12) | st.none() | st.binary() | st.integers())
@example("a\n")
@example("a" * (MAX_LENGTH + 1))
def test_anything_else_is_refused(text: object) -> None:
    # The grammar once more, by other means: split at the first separators and look at the characters.
    try:
        parsed = Descriptor.parse(text)  # type: ignore[arg-type]
    except ExtensionError:
        assert not (isinstance(text, str) and len(text) <= MAX_LENGTH and _well_formed(text))
    else:
        assert isinstance(text, str)
        assert _well_formed(text)
        assert str(parsed) == text


def _well_formed(text: str) -> bool:
    key, slash, version = text.partition("/")
    words = key.split("@")
    return (
        len(words) <= 2
        and all(word and word[0] in _ALNUM and not set(word) - set(_ALNUM + "._-") for word in words)
        and (not slash or bool(re.fullmatch(r"[\x21-\x7e]+", version)))
    )
