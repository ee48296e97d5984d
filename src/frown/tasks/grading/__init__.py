"""Judging an answer: what a completion states, how it is written, and whether it is the reference."""
