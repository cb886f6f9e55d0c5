"""The reader's side: from a published checkpoint into tensors.

Begin with `reader`, which opens the checkpoint and hands the plan to `unpacking`.
"""
