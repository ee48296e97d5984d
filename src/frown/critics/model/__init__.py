"""A language model as a critic, behind an endpoint or on this machine."""
