"""Other formats in and out, and whole checkpoints without a template.

Begin with `conversion`; `weights` is what a source and a destination have in common, `safetensors` that format,
`checkpoints` DCP's, `whole` is `load_all`.
"""
