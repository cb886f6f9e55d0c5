"""Others' pickles and archives, looked through and never run.

Begin with `unpickle`, which reads DCP's metadata, and `torch_pickle`, which foresees what a container would make.
"""
