"""Every page of a repository into the output's folder, in several processes; what didn't change isn't written again."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Callable, Iterator
from functools import lru_cache

from pagedex import __version__
from pagedex.building.cache import Cache
from pagedex.building.folder import Folder
from pagedex.building.workers import run
from pagedex.index.a_to_z import letter_pages
from pagedex.index.folders import folder_pages
from pagedex.index.keywords import keyword_page
from pagedex.model.blocks import Page
from pagedex.model.ties import Repository
from pagedex.output.site import Site, render, site_files
from pagedex.pages.file_page import file_page
from pagedex.reading.tree import Tree, read_text

# Files whose pages one process makes before it says how far it is.
_SHARE = 8
_TEXTS_KEPT = 32
