"""Rollouts of other programs as a run directory, and a run's rollouts for other programs."""
