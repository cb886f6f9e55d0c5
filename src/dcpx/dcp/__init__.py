"""Every private name of torch's DCP, and tensors as bytes.

Begin with `private`; `staging` has a tensor's elements in host memory.
"""
