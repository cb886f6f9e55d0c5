"""What pagedex raises. Everything that is wrong with a *documented* file is no error: it stands in the summary."""


class PagedexError(Exception):
    """Something that the user can mend: the message says what, where and what to do."""
