"""The demo: a real model, a few real training steps, and its checkpoint saved and loaded three ways."""
