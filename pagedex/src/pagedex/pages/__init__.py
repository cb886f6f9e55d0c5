"""The page of a file: thirteen sections, each made of what stands in the code and of what other files do with it."""
