"""Arms against each other: cells of an experiment and the workers that run them."""
