"""Chats with a language model, budgeted and cached: what model critics and model partners share."""
