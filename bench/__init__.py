"""Benchmarks: one module per question, run as `python -m bench NAME`. Figures come from here, never from tests."""
