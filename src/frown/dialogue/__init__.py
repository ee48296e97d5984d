"""Conversations of a policy with a partner: several turns of one speaker become one rollout."""
