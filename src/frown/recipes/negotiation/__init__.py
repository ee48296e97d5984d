"""Which emotion to show in a negotiation over one number, learned from logged dialogues."""
