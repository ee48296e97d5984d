"""Processes, threads, random streams: what a run runs on."""
