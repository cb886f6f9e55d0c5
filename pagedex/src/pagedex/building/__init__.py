"""From a folder to an output: reads, resolves, makes pages and writes them, and keeps what can be kept for the next
time."""
