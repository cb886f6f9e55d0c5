"""What a checkpoint says of itself: its names, pointer, metadata, manifest and items, read without torch.

Begin with `pointer`, which reads the metadata and the manifest; `items` is what they describe.
"""
