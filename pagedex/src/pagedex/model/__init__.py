"""Plain values: what was read, what a language found in a file, what the files are to each other, what a page holds."""
