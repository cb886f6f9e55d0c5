"""What is in a file, one language a module."""
