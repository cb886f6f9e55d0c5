"""`report`: a checkpoint, or several steps of a training, as one page to look at in a browser.

`make` is where it begins: it takes what `content` says of the checkpoints, with `exponents` and `steps`, and `joined`
puts that and the files of `page` and `vendor` into one file. The page asks nothing of the network.
"""
