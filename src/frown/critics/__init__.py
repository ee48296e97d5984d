"""Who comments on single steps, and the contract."""
