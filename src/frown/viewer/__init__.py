"""The trace viewer: rollouts, what was read in them and what was said about them, from a run directory alone."""
