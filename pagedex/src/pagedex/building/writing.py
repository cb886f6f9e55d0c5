"""Every page of a repository into the output's folder, in several processes; what didn't change isn't written again."""

from __future__ import annotations

# Files whose pages one process makes before it says how far it is.
_SHARE = 8
_TEXTS_KEPT = 32
