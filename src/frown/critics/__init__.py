"""Critics, which comment on single steps, and their contract."""
