"""One pass through the language-model head (`head`), the objectives (`objectives`, `preference`), and `advantages`.

Nothing is imported here: `advantages` is used without torch.
"""
