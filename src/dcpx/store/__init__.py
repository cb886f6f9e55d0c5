"""Where bytes lie: the contract of a store, and local directories as its first keeper.

Begin with `directory`; `sink` writes a file, `source` reads one.
"""
