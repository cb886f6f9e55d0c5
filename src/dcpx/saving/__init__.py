"""The writer's side: from tensors to a published checkpoint.

Begin with `writer`; items go through `packing` or `streaming` to `files`, and `commit` publishes them.
"""
