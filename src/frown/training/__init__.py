"""One run: the loop, its step, its state, and who watches it."""
