"""Python: definitions, imports and a program of names for the resolver, from the syntax tree; never by importing."""

from pagedex.languages.contract import Language
from pagedex.languages.python.read import read

PYTHON = Language(
    name="Python",
    lexer="python",
    read=read,
    version=2,
    suffixes=(".py", ".pyi", ".pyw"),
    interpreters=("python", "python2", "python3"),
)
