"""The reader's side: from a published checkpoint into tensors.

Begin with `reader`, which opens the checkpoint, then `unpacking`, which ties together what reads it.
"""
