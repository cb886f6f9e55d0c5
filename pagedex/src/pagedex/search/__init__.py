"""Search over a repository: the index that pages ship and the command reads, and what is found in it first."""
