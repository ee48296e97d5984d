"""What a run takes before it starts, and what is installed."""
