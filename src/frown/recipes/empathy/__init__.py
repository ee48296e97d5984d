"""Rewards from the other person's feelings (RLVER), with guards against soothing instead of helping."""
