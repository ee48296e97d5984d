"""A model that learns: rows, passes, schedule, shards."""
