"""What a run leaves on the disk: run directory, checkpoints, trackers."""
