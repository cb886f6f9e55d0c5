"""Where bytes lie: the contract of a store, and local directories as its first keeper.

Begin with `contract`; `address` opens a store, `sink` writes an object, `source` reads one.
"""
