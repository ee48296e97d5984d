"""What is practised next: prompts, difficulty, replay."""
