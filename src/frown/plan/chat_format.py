"""How conversations reach a model: chat template and tokens that begin, end and pad, checked against each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from frown.errors import FrownError
from frown.policy.text import prompt_ids, templated
from frown.types import Message

_WORD = "Xq7Zk"
"""A turn that templates write as it is."""


class ChatFormat(NamedTuple):
    """The template and the special tokens of a model."""

    template: bool
    """Whether there is a chat template."""
    system: Literal["own turn", "in front of the question", "left out"] | None
    """What becomes of a system message."""
    closing: str | None
    """The token that the template writes behind an answer; None where it writes nothing."""
    ends: tuple[str, ...]
    """The tokens that end an answer."""
    pad: str | None
    vocabulary: int
    """Tokens of the tokenizer."""
    faults: tuple[str, ...]
    """Why no conversation can be trained."""
    warnings: tuple[str, ...]


def chat_format(tokenizer: Any, end_ids: Sequence[int]) -> ChatFormat:
    """The chat format of a tokenizer, whose model ends an answer with any of the `end_ids`."""
    faults, warnings = [], []
    ends = tuple(str(tokenizer.convert_ids_to_tokens(i)) for i in end_ids)
    system, closing = None, None
    if not tokenizer.chat_template:
        faults.append(
            "it has no chat template: add chat_template.jinja to the folder, or take the model's chat version"
        )
    else:
        try:
            system = _system(tokenizer)
            closing, complaints = _closing(tokenizer, end_ids, ends)
            warnings += [*complaints, *_beginning(tokenizer)]
        except FrownError as error:
            faults.append(str(error))
    if tokenizer.eos_token_id is None:
        faults.append("its tokenizer has no end-of-sequence token: set eos_token in tokenizer_config.json")
    if system == "left out":
        warnings.append("the chat template leaves out system messages: write instructions into the question")
    if tokenizer.chat_template and "enable_thinking" in str(tokenizer.chat_template):
        warnings.append(
            "the chat template knows a thinking mode, which is on unless the template says otherwise: answers may run "
            "to thousands of tokens, so compare sampling.max_new_tokens with some of them (`frown eval`)"
        )
    return ChatFormat(
        bool(tokenizer.chat_template), system, closing, ends, tokenizer.pad_token, len(tokenizer), tuple(faults),
        tuple(warnings),
    )  # fmt: skip


def _system(tokenizer: Any) -> Literal["own turn", "in front of the question", "left out"]:
    asked = [Message(role="system", content=_WORD), Message(role="user", content="a")]
    try:
        text = tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
    except Exception:  # a template may raise anything; Gemma's refuses system messages
        templated(tokenizer, asked, tokenize=False)
        return "in front of the question"
    return "own turn" if _WORD in text else "left out"


def _closing(tokenizer: Any, end_ids: Sequence[int], ends: Sequence[str]) -> tuple[str | None, list[str]]:
    """The token that the template writes behind an answer, and what is wrong with it."""
    asked, answered = Message(role="user", content="a"), Message(role="assistant", content=_WORD)
    if _WORD not in str(templated(tokenizer, [asked, answered, asked], tokenize=False)):
        return None, ["the chat template leaves out earlier answers: a conversation is then no one sequence"]
    behind = str(templated(tokenizer, [asked, answered], tokenize=False)).rpartition(_WORD)[2].strip(" ")
    ids = tokenizer(behind, add_special_tokens=False)["input_ids"]
    closing = None if not ids else int(ids[0])
    if closing in end_ids:
        return str(tokenizer.convert_ids_to_tokens(closing)), []
    known = f"what ends an answer is {' or '.join(ends)}" if ends else "nothing ends an answer"
    if closing is None or closing not in getattr(tokenizer, "added_tokens_decoder", {}):
        return None, [
            f"the chat template closes an answer with no token of its own; {known}: see that the model writes it, else "
            "every answer runs to sampling.max_new_tokens"
        ]
    name = str(tokenizer.convert_ids_to_tokens(closing))
    return name, [
        f"the chat template closes an answer with {name} ({closing}), but {known}: answers run on to "
        "sampling.max_new_tokens; add it to eos_token_id in generation_config.json"
    ]


def _beginning(tokenizer: Any) -> list[str]:
    bos = tokenizer.bos_token_id
    if bos is None:
        return []
    prompt = prompt_ids(tokenizer, [Message(role="user", content="a")])
    if len(prompt) > 1 and prompt[0] == prompt[1] == bos:
        return [f"the chat template writes {tokenizer.bos_token} twice: take it out of the template"]
    alone = tokenizer("a")["input_ids"]
    if alone and alone[0] == bos != prompt[0]:
        return [
            f"the chat template does not begin with {tokenizer.bos_token}, with which the tokenizer begins every text: "
            "add it to the template, if the model was trained so"
        ]
    return []
