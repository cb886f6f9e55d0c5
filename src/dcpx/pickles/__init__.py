"""Others' pickles and archives, looked through and never run.

Begin with `opcodes`, the machine of both readers: `unpickle` reads DCP's metadata, and `torch_pickle` foresees what a
pickle of `torch.save` would make. Nothing here needs torch.
"""
