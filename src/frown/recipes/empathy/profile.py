"""Who the simulated person is: need, temper and personality, from RLVER's profiles or drawn at random.

RLVER's profiles (`Tencent/digitalhuman`, MIT) are Chinese and name three traits, one of three tempers and one of eight
hidden intentions each. Which trait says what of the five factors is ours: the paper gives no numbers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from frown.errors import FrownError
from frown.recipes.empathy.acts import NEEDS, Need
from frown.types import Message, Task

Temper = Literal["negative", "passive", "avoidant"]
TEMPERS: tuple[Temper, ...] = get_args(Temper)
TOPICS = ("work", "love", "family", "study", "health", "friends")

_NEEDS: dict[str, Need] = {
    "你想获得能真实帮助你解决当下困境的建议": "advice",
    "你希望对方深刻共情你的感受，而不是简单的安慰": "empathy",
    "你希望对方真诚地夸奖你在事件中的具体行为": "praise",
    "你希望对方引导你针对事件进行自我反思，收获自我成长": "growth",
    "你希望对方用心倾听你的情绪宣泄": "listening",
    "你希望对方辩证地分析事件中的问题": "analysis",
    "你想分析事件中其他人物这么做的原因": "motives",
    "你认为自己在事件中没有任何责任和错误，你想要对方也认同你没有错": "agreement",
}
_TEMPERS: dict[str, Temper] = {"负面型": "negative", "被动型": "passive", "回避型": "avoidant"}
# Openness, conscientiousness, extraversion, agreeableness, neuroticism: away from the middle, in [-1, 1].
_TRAITS: dict[str, tuple[float, float, float, float, float]] = {
    "多疑": (0, 0, 0, -0.6, 0.5),
    "宽容": (0.2, 0, 0, 0.8, -0.3),
    "愤怒": (0, -0.2, 0.2, -0.6, 0.7),
    "疯癫": (0.4, -0.7, 0.5, -0.3, 0.8),
    "自私": (0, 0, 0, -0.8, 0),
    "刻薄": (0, 0, 0.2, -0.8, 0.2),
    "谦逊": (0, 0.2, -0.2, 0.6, 0),
    "沉稳": (0, 0.6, -0.2, 0.2, -0.7),
    "内向": (0, 0, -0.8, 0, 0.1),
    "谨慎": (-0.2, 0.7, -0.2, 0, 0.1),
    "自卑": (0, 0, -0.5, 0, 0.7),
    "懒惰": (0, -0.8, -0.2, 0, 0),
    "暴躁": (0, -0.3, 0.3, -0.5, 0.8),
    "怯懦": (-0.3, 0, -0.6, 0.1, 0.6),
    "狂妄": (0, -0.2, 0.6, -0.6, 0.1),
    "粗鄙": (-0.4, -0.4, 0.3, -0.5, 0.2),
    "逃避": (-0.2, -0.5, -0.4, 0, 0.5),
    "敏感": (0.4, 0, -0.1, 0.1, 0.7),
    "机敏": (0.6, 0.3, 0.3, 0, -0.2),
    "愤懑": (0, 0, -0.2, -0.4, 0.6),
    "虚荣": (0, 0, 0.4, -0.4, 0.3),
    "傲慢": (0, 0, 0.3, -0.7, 0),
    "耐心": (0, 0.5, 0, 0.6, -0.5),
    "直率": (0.2, 0, 0.5, 0, -0.1),
    "高冷": (0, 0.1, -0.6, -0.4, -0.1),
    "焦虑": (0, 0, -0.2, 0, 0.9),
    "乐观": (0.3, 0, 0.5, 0.4, -0.7),
    "沉默寡言": (0, 0, -0.9, 0, 0.1),
}


@dataclass(frozen=True)
class Profile:
    """One person."""

    id: str
    need: Need
    temper: Temper
    ocean: tuple[float, float, float, float, float]
    """Openness, conscientiousness, extraversion, agreeableness, neuroticism, each in [0, 1]."""
    topic: str
    """What it is about, one of `TOPICS`; of a profile of RLVER's a hash of its id, for it names none."""
    opening: str
    """The person's first words."""
    brief: str = ""
    """The whole profile in words, for a model that plays the person."""


def task_of(profile: Profile) -> Task:
    """The conversation with a person, as something that is asked."""
    data: dict[str, Any] = {"profile": profile}
    return Task(profile.id, (Message(role="user", content=profile.opening),), answer="", data=data)


def load(file: Path) -> list[Profile]:
    """RLVER's profiles: JSONL, split at line feeds alone (the texts hold other separators).

    Raises FrownError for a file that cannot be read, and names the line of a profile that cannot be used.
    """
    try:
        lines = file.read_bytes().decode("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise FrownError(f"cannot read {file}: {error}") from None
    return [_profile(line, f"{file}:{n}") for n, line in enumerate(lines, 1) if line.strip()]


def _profile(line: str, where: str) -> Profile:
    try:
        row = json.loads(line)
        need, temper = _NEEDS[row["task"]], _TEMPERS[row["main_cha"]]
        moved = np.mean([_TRAITS[t] for t in row["cha_group"]], axis=0)
        brief = f"{row['player']}\n\n{row['scene']}"
        name, opening = str(row["id"]), row.get("first_talk") or "……"
        if not isinstance(opening, str):
            raise TypeError("first_talk is no text")
        digest = hashlib.sha256(name.encode()).hexdigest()
        (opening + brief).encode()
        o, c, e, a, n = (float(0.5 + 0.5 * m) for m in moved)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FrownError(f"{where}: no profile of RLVER's: {type(error).__name__}: {error}") from None
    return Profile(name, need, temper, (o, c, e, a, n), TOPICS[int(digest, 16) % len(TOPICS)], opening, brief)


def drawn(n: int, seed: int) -> list[Profile]:
    """Profiles drawn at random, for where RLVER's are not there."""
    rng = np.random.default_rng(seed)
    out = []
    for i in range(n):
        o, c, e, a, nn = rng.uniform(0.1, 0.9, 5).tolist()
        topic = TOPICS[int(rng.integers(len(TOPICS)))]
        need, temper = NEEDS[int(rng.integers(len(NEEDS)))], TEMPERS[int(rng.integers(len(TEMPERS)))]
        out.append(Profile(f"drawn-{seed}-{i}", need, temper, (o, c, e, a, nn), topic, f"low {topic}"))
    return out


def profiles(folder: Path | None, split: Literal["train", "test"], n: int) -> Sequence[Profile]:
    """RLVER's profiles of a split where a folder is named, else drawn ones; the same at every call."""
    if folder is None:
        return drawn(n, seed={"train": 1, "test": 2}[split])
    return load(folder / f"{split}_profile.jsonl")[:n]
