"""A judge by rule: what one utterance is worth, an integer from 1 to 10.

EmoDistill asks a language model for such a score (firmness, realism, closing the deal). This one has its rubric in
points, so that what a speaker can gain by it is known. It hears what the partner hears, but it knows nothing of the
partner's tactic, of who is stuck, or of utility: it asks whether the speaker did as told, in a decent way. So a higher
score need not be a better deal, and both are reported.
"""

from __future__ import annotations

from frown.recipes.negotiation.listener import hear
from frown.recipes.negotiation.speech import Moment

_NEAR = 0.5
"""Units. Offers are told in whole ones."""


def judge(moment: Moment, text: str) -> int:
    """The score of an utterance, 1 to 10: 1, and

    - 3 for the offer that was to be made, 1 for another one that gives away no more (firmness);
    - 3 for the tone of the card and no other, 1 for no tone where one was asked for; without a card, 3 for no tone;
    - 1 for naming one number and no more (one thing at a time);
    - 1 for not saying again what was said last;
    - 1 for no insult.
    """
    perception = hear(text, moment.unit)
    score = 1
    if perception.offer is not None:
        if abs(perception.offer - moment.offer) <= _NEAR:
            score += 3
        elif (perception.offer - moment.offer) * (moment.ours[0] - moment.theirs[0]) > 0:
            score += 1
    asked = {moment.card.name} - {"neutral"} if moment.card is not None else set()
    tones = perception.emotions - {"contempt"}
    if tones == asked:
        score += 3
    elif not tones:
        score += 1
    return score + (perception.numbers == 1) + (text != moment.own_text) + (perception.insults == 0)
