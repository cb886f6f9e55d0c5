"""Builds what is released, and tries each file where a user would: `make wheels`."""
