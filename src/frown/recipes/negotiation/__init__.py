"""Negotiation over one number (EmoDistill): which emotion to show and how to say it, learned from logged dialogues."""
