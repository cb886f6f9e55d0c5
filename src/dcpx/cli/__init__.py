"""The command `dcpx`: thin commands over the functions of `views/` and `formats/`.

Begin with `main`; what each command prints is in the file that has the command.
"""
