"""Read-only views of a checkpoint, without torch.

Begin with `verify`; what it returns is in `findings`.
"""
