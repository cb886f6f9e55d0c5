"""The reader's side: from a published checkpoint into tensors.

A load begins in `api.load`, which has DCP call `reader`; `unpacking` ties together what reads, and `decoding` verifies.
"""
