"""Whether what was written is true: every link and citation leads somewhere, every public definition is described."""
