"""What a chat template writes between one turn of the policy and the next, in tokens.

The policy's own ids stay as they were sampled: decoding and encoding them again may give others (a model samples
"ab" as "a" + "b" where its tokenizer would write one token), and a gradient on ids that were never sampled is a
gradient of something else. So only what follows a turn is taken from the template: its end, the partner's words, and
what announces the next turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from frown.errors import FrownError
from frown.policy.text import completion_text, templated
from frown.types import Ints, Message

REWRITES = (
    "the model's chat template rewrites what was said before (it changes the text of an earlier turn, as templates do "
    "that take out <think> or trim spaces), so the turns of a conversation are no one sequence; set "
    'conversation.history to "kept", which leaves them as they were said, or to "template" to train on the turns one '
    "by one"
)
_STAND_IN = "Xq7Zk"
"""A turn that templates write as it is, and that nobody says."""


def continuation(
    tokenizer: Any,
    before: Sequence[Message],
    said: Ints,
    ended: bool,
    eos_ids: Sequence[int],
    heard: Sequence[Message],
    *,
    kept: bool = False,
) -> Ints:
    """The ids that follow a turn's own in the template's text: the end of the turn, `heard`, and the next beginning.

    `before`: the conversation up to the turn. `said`: the turn's ids [T], of which the last is an end-of-sequence
    token where it `ended`: the template's is then not written a second time (where the model ended with another end
    token than the template's, the model's stands). Whatever of the template's text follows the turn is tokenised
    together with all that precedes it, and cut at the turn's end.

    `kept`: what the template would make of this turn and earlier ones does not matter. What follows the turn is then
    what follows a word in its place.

    Raises FrownError where the template fails, does not write the turn's text as it is behind what it wrote before,
    or where one token would reach over the turn's end.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise FrownError("a conversation needs a fast tokenizer (tokenizer.json): only it says which text a token has")
    text = _STAND_IN if kept else completion_text(tokenizer, said[:-1] if ended else said)
    own = Message(role="assistant", content=text)
    whole = _render(tokenizer, [*before, own, *heard])
    if kept:
        begun = whole.rfind(text) + len(text)
        as_written = text in whole
    else:
        start = _render(tokenizer, before) + text
        begun, as_written = len(start), whole.startswith(start)
    if not as_written:
        raise FrownError(REWRITES)
    tokens = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
    starts, ends = np.asarray(tokens["offset_mapping"], np.int64).reshape(-1, 2).T
    if np.any((starts < begun) & (ends > begun)):
        raise FrownError(
            "the model's chat template has no token boundary at the end of a turn, so what follows it cannot be told "
            'from it; set conversation.history = "template"'
        )
    ids = np.asarray(tokens["input_ids"], np.int64)[starts >= begun]
    return ids[1:] if ended and len(ids) and int(ids[0]) in eos_ids else ids


def _render(tokenizer: Any, messages: Sequence[Message]) -> str:
    """The template's text up to where the next answer begins, as `frown.policy.text.prompt_ids` tokenises it."""
    return str(templated(tokenizer, messages, tokenize=False))
