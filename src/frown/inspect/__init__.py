"""Looking at a model without training it: evaluate, probe, read, grade."""
