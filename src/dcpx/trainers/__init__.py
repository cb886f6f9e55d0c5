"""DCP's own classes replaced by dcpx's, for trainers that only know DCP.

Begin with `install`; `stand_ins` are what it puts in their place, `startup` what an environment variable starts.
"""
