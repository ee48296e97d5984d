"""A model that answers: load, prompt, sample, read."""
