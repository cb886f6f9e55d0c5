"""A documentation system for any repository: a page for every file, a keyword index for every page, every statement
leading to a file and a line. It reads what it documents and never imports or runs it."""

__version__ = "0.1.0"
