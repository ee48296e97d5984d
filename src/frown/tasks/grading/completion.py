"""What a completion says to its reader: thoughts, other channels and end tokens off. Never raises; linear time."""

from __future__ import annotations

import re

_TAG = re.compile(
    r"<(/?)(?:think|thinking|thought|thoughts|reasoning|reflection|scratchpad|analysis)>"
    r"|\[(/?)THINK\]|◁(/?)think▷|<\|(?:begin|(end))_of_thought\|>",
    re.IGNORECASE,
)
_END = re.compile(
    r"<\|(?:im_end|eot_id|eom_id|end|end_of_text|endoftext|return|eos|end_of_turn|end_of_solution)\|>"
    r"|</s>|<eos>|<end_of_turn>|<pad>|\[EOS\]|<｜end▁of▁sentence｜>|<\uff5cend\u2581of\u2581sentence\uff5c>"
    r"|<\|endofsolution\|>"
)
_START = re.compile(r"\s*(?:<s>|<bos>|<\|begin_of_text\|>|<\|im_start\|>assistant\s|<\|begin_of_solution\|>)")
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)[^<]{0,80}<\|message\|>")
_CHANNEL_WORDS = re.compile(r"analysis(?=[A-Z0-9])")
_NEXT_TURN = re.compile(r"\n[ \t]{0,8}(?:Q|Question|Human|User|Problem)\s*\d{0,4}\s*:")
_ANSWERED = re.compile(r"answer\s*(?:is|:|=)|\\boxed|####|</answer>", re.IGNORECASE)


def after_thinking(text: str) -> str:
    """The text without its thoughts: `<think>...</think>` and its kin, whatever stands before a closing tag that
    nobody opened, and all that follows an opening tag that nobody closes."""
    parts: list[str] = []
    start, inside = 0, False
    for tag in _TAG.finditer(text):
        closing = "/" in tag[0] or tag[4] is not None
        if closing and not inside:  # the template opened it in the prompt
            parts = []
        elif not closing and not inside:
            parts.append(text[start : tag.start()])
        inside = not closing
        start = tag.end()
    return "".join(parts) if inside else "".join([*parts, text[start:]])


def visible_text(text: str) -> str:
    """What the reader of a completion sees as the answer: the final channel, no thoughts, up to the first end token."""
    text = text.lstrip("\ufeff")
    text = _final_channel(text)
    text = after_thinking(text)
    start = _START.match(text)
    if start is not None:
        text = text[start.end() :]
    end = _END.search(text)
    while end is not None and not text[: end.start()].strip():  # an end token in front ends nothing
        text = text[end.end() :]
        end = _END.search(text)
    if end is not None:
        text = text[: end.start()]
    for turn in _NEXT_TURN.finditer(text):  # a base model that goes on to the next question
        if _ANSWERED.search(text, 0, turn.start()):
            return text[: turn.start()]
    return text


def _final_channel(text: str) -> str:
    channels = list(_CHANNEL.finditer(text))
    if channels:
        final = [m.end() for m in channels if m[1] == "final"]
        if not final:
            return ""
        later = [m.start() for m in channels if m.start() >= final[-1]]
        return text[final[-1] : later[0] if later else len(text)]
    if _CHANNEL_WORDS.match(text):  # the same, decoded without its special tokens
        return text.rpartition("assistantfinal")[2] if "assistantfinal" in text else ""
    return text
