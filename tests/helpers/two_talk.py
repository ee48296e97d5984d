"""What passes between two processes, and what each holds of a sharded model; what each saw is in FOLDER/RANK.json.

python -m torch.distributed.run --standalone --nproc_per_node 2 tests/helpers/two_talk.py FOLDER
"""

import json
import os
import sys
from pathlib import Path

import torch

from frown.config import RunConfig, parse
from frown.errors import FrownError, NotFinite
from frown.learner.learner import Learner
from frown.policy.parts import is_part, whole
from frown.policy.policy import policy_of
from frown.runtime.processes import Ranks, joined

ALIKE = {"distributed": {"sharding": "fsdp2", "timeout": 600}}
MODELS = ({}, {"dtype": "bfloat16", "lora": {"rank": 3}})
"""Whole, and with adapters whose three rows two processes share: one more or less."""


def said(call) -> str:
    """What a call raises."""
    try:
        return f"nothing: {call()}"
    except FrownError as error:
        return f"{type(error).__name__}: {error}"


def fails(ranks: Ranks, where: int, error: Exception):
    if ranks.rank == where:
        raise error
    return [ranks.rank]


def held(config: RunConfig, ranks: Ranks) -> dict:
    """Which share of the weights is here, and whether each process may decode as long as it likes."""
    learner = Learner(policy_of(config, ranks), config)
    model = learner.policy.model

    def share(inside: bool) -> float:
        of = [p for n, p in model.named_parameters() if (".layers." in n) == inside]
        return sum((p.to_local() if is_part(p) else p).numel() for p in of) / sum(p.numel() for p in of)

    shares = {"layers": share(True), "others": share(False)}
    with whole(model):
        shares["together"] = share(True)
        steps = 3 + 6 * ranks.rank
        with torch.inference_mode():
            for _ in range(steps):
                model(torch.tensor([[1, 2, 3]]))
    assert share(True) == shares["layers"]
    return {**shares, "steps": ranks.gather(lambda: [steps])}


def resident(tensors) -> int:
    """Bytes of what tensors lie in; of those that are parts, of the part."""
    storages = [(t.to_local() if is_part(t) else t).untyped_storage() for t in tensors]
    return sum({s.data_ptr(): s.nbytes() for s in storages}.values())


def taken(config: RunConfig, ranks: Ranks) -> dict:
    """Bytes of one process, by the names a plan has for them, after one step."""
    learner = Learner(policy_of(config, ranks), config)
    model = learner.policy.model
    teacher = learner.teacher.copied_weights()
    model(torch.tensor([[1, 2, 3]])).logits.square().sum().backward()
    bytes_held = {"gradients": resident(p.grad for p in learner.parameters)}
    learner.step()
    moments = [x for state in learner.optimiser.state.values() for name, x in state.items() if name != "step"]
    bytes_held |= {
        "weights": resident(model.parameters()),
        "optimiser": resident(moments),
        "teacher": resident(teacher.values()),
    }
    with whole(model):
        bytes_held["layers"] = resident(p for n, p in model.named_parameters() if ".layers." in n)
    return bytes_held


def talk(config: RunConfig, ranks: Ranks) -> dict:
    things = list("abcde")
    parameters = [torch.nn.Parameter(torch.zeros(2, 3)) for _ in range(3)]
    parameters[0].grad = torch.full((3, 2), 1.0 + ranks.rank).T  # not contiguous
    if ranks.rank == 1:
        parameters[1].grad = torch.ones(2, 3)
    ranks.add_gradients(parameters)
    tensors = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.tensor(7, dtype=torch.bfloat16)}
    tensors_of_first = ranks.tensors_from_first(lambda: tensors if ranks.first else {"wrong": torch.zeros(1)})
    return {
        "gathered": ranks.gather(lambda: things[ranks.share(5)]),
        "from_first": ranks.from_first(lambda: [ranks.rank, "made"]),
        "total": ranks.total(ranks.rank + 0.5),
        "gradients": [None if p.grad is None else p.grad.tolist() for p in parameters],
        "tensors": {name: [str(x.dtype), x.tolist()] for name, x in tensors_of_first.items()},
        "agree": [said(lambda: ranks.agree(4, "a number")), said(lambda: ranks.agree(ranks.rank, "their ranks"))],
        "not_finite": said(lambda: ranks.gather(lambda: fails(ranks, 1, NotFinite("nan")))),
        "first_failed": said(lambda: ranks.from_first(lambda: fails(ranks, 0, FrownError("no such folder")))),
        "together": ranks.together(lambda: [ranks.rank]),
        "one_failed": said(lambda: ranks.together(lambda: fails(ranks, 1, FrownError("no answer")))),
        "one_not_finite": said(lambda: ranks.together(lambda: fails(ranks, 1, NotFinite("nan")))),
        "held": held(config, ranks),
        "still_together": ranks.gather(lambda: [ranks.rank]),
    }


if __name__ == "__main__":
    config = parse(RunConfig, {**ALIKE, "model": {"device": "cpu"}}, "test")
    with joined(config) as ranks:
        bytes_held = talk(config, ranks)
        bytes_held["taken"] = [
            taken(parse(RunConfig, {**ALIKE, "model": {"device": "cpu", **m}}, "test"), ranks) for m in MODELS
        ]
    (Path(sys.argv[1]) / f"{os.environ['RANK']}.json").write_text(json.dumps(bytes_held))
