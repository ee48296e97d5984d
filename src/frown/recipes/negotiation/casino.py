"""CaSiNo: people who negotiate camping supplies and show how they feel with emoticons.

Chawla et al. 2021 (NAACL), CC BY 4.0. Two people share three packages each of food, water and firewood; each values
them 5, 4 and 3 points in an own order and reports satisfaction at the end. Each message is an exchange of its writer:
the action is the emoticon in it. These are observations, not an experiment: who smiles when things go well earns more
without smiling having earned it, and no estimate from such logs can tell.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from frown.errors import FrownError
from frown.recipes.negotiation.logs import Logs

ACTIONS = ("neutral", "joy", "sadness", "anger", "surprise")
"""What the four emoticons that the platform offered stand for; neutral is a message without one."""
_EMOTICONS = {"\U0001f642": 1, "\u2639": 2, "\U0001f621": 3, "\U0001f62e": 4}
_DECISIONS = ("Submit-Deal", "Accept-Deal", "Reject-Deal", "Walk-Away")
_SATISFACTION = (
    *("Extremely dissatisfied", "Slightly dissatisfied", "Undecided", "Slightly satisfied", "Extremely satisfied"),
)
MOST_POINTS = 36
Outcome = Literal["points", "satisfaction"]


class People(NamedTuple):
    """Logs of people, without chances (NaN): one episode a person; `dialogues` [B] says who talked to whom.

    `mixed`: messages with two different emoticons, of which the last counts.
    """

    logs: Logs
    dialogues: NDArray[np.int64]
    mixed: int


def load_casino(path: Path, outcome: Outcome) -> People:
    """Every person of every dialogue in a CaSiNo split. The reward comes at the end, in [0, 1].

    points: points scored over 36 (who walks away gets 5); satisfaction: five levels from 0 to 1. Raises FrownError
    for a file that is not CaSiNo's.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return _people(rows, outcome)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise FrownError(f"cannot read {path}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise FrownError(f"{path} is not a split of CaSiNo: {type(error).__name__} {error}") from None


def _people(rows: Sequence[Mapping[str, Any]], outcome: Outcome) -> People:
    columns: dict[str, list[Any]] = {name: [] for name in Logs.__dataclass_fields__}
    dialogues: list[int] = []
    mixed = 0
    for number, row in enumerate(rows):
        for person, person_facts in row["participant_info"].items():
            states, actions, double = _person_steps(row["chat_logs"], person)
            mixed += double
            if not actions:
                continue
            count = len(actions)
            columns["states"] += states[:-1]
            columns["next_states"] += states[1:]
            columns["actions"] += actions
            columns["rewards"] += [0.0] * (count - 1) + [_earned(person_facts["outcomes"], outcome)]
            columns["dones"] += [False] * (count - 1) + [True]
            columns["episode_ids"] += [len(dialogues)] * count
            columns["step_ids"] += range(count)
            columns["chances"] += [np.nan] * count
            dialogues.append(number)
    kinds = {"states": np.float32, "next_states": np.float32, "rewards": np.float64, "dones": np.bool_}
    kinds |= {"chances": np.float64}
    logs = Logs(**{name: np.array(values, dtype=kinds.get(name, np.int64)) for name, values in columns.items()})
    return People(logs, np.array(dialogues, dtype=np.int64), mixed)


def _earned(outcomes: Mapping[str, Any], outcome: Outcome) -> float:
    if outcome == "points":
        points = float(outcomes["points_scored"])
        if not 0.0 <= points <= MOST_POINTS:
            raise ValueError(f"points_scored is {points}")
        return points / MOST_POINTS
    return _SATISFACTION.index(outcomes["satisfaction"]) / (len(_SATISFACTION) - 1)


def _person_steps(chat: Sequence[Mapping[str, Any]], person: str) -> tuple[list[list[float]], list[int], int]:
    """The states before each of a person's messages (and one after the last), the emoticon in it, mixed messages.

    A state knows what the person has seen: how many messages each has written (tenths), the last emoticon of each (as
    indicators; none before the first message), the share of messages with one, the length of the other's last message
    (hundreds of characters), proposals made and refused.
    """
    shown: dict[bool, list[int]] = {True: [], False: []}
    length, proposed, refused, mixed = 0.0, 0, 0, 0
    states: list[list[float]] = []
    actions: list[int] = []

    def state() -> list[float]:
        out = []
        for side in (True, False):
            last = np.eye(len(ACTIONS))[shown[side][-1]] if shown[side] else np.zeros(len(ACTIONS))
            out += [len(shown[side]) / 10, *last, sum(a > 0 for a in shown[side]) / max(len(shown[side]), 1)]
        return [*out, length / 100, proposed / 3, refused / 3]

    for message in chat:
        text, mine = message["text"], message["id"] == person
        if text in _DECISIONS:
            proposed += int(text == "Submit-Deal")
            refused += int(text == "Reject-Deal")
            continue
        emoticons = [_EMOTICONS[c] for c in text if c in _EMOTICONS]
        emoticon = emoticons[-1] if emoticons else 0
        if mine:
            states.append(state())
            actions.append(emoticon)
            mixed += len(set(emoticons)) > 1
        else:
            length = float(len(text))
        shown[mine].append(emoticon)
    return [*states, state()], actions, mixed
