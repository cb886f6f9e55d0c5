"""The one place where passwords are taken out of what is shown: addresses, and what stores and their clients say."""

from __future__ import annotations

import re

__all__ = ["masked", "masked_cause"]

_MASK = "***"

_LOGIN = re.compile(r"""(?<=\w:/)(/?)[^/\s@'"]*:(?:[^/\s]*@|(?!\d+/)[^\s@]*@)""")
"""A user and a password before a host, after one slash or two. A password that holds a slash is found as well; a port
before a path with an @ is none."""

_QUERY = re.compile(r"""([?&][^=&\s?'"]*(?:sig|cred|token|secret|passw|auth|key)[^=&\s?'"]*=)[^&\s'",]+""", re.I)
"""What signs a request, such as Azure's `sig` and S3's `X-Amz-Signature`."""


def masked(text: str) -> str:
    """The text without the passwords of the addresses in it."""
    return _QUERY.sub(rf"\1{_MASK}", _LOGIN.sub(rf"\1{_MASK}@", text))


def masked_cause(error: BaseException) -> BaseException | None:
    """What to raise another error from: this one, but where its text holds a password, or that of an error which would
    be shown with it."""
    shown: BaseException | None = error
    while shown is not None:
        if masked(text := str(shown)) != text:
            return None
        shown = shown.__cause__ or (None if shown.__suppress_context__ else shown.__context__)
    return error
