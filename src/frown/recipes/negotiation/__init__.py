"""Which emotion to show in a negotiation over one number, and how to say it, learned from logged dialogues."""
