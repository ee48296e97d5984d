"""Off-policy evaluation: what a policy would have earned, from dialogues that another policy held.

Four estimates of the value of a target policy pi on B logged dialogues, each with a 95 % interval over dialogues (the
house bootstrap), none of which plays a single new dialogue:

- `behaviour`: what was earned in fact.
- `wis`: weighted importance sampling, sum_i w_i G_i / sum_i w_i with w_i = prod_t pi / mu (Precup, Sutton and Singh
  2000). Biased for few dialogues. Its effective sample size (sum w)^2 / sum w^2 says of how many dialogues it is made:
  with A emotions, a policy that is sure of itself and T exchanges, one in A^T.
- `fqe`: fitted Q evaluation with features linear in the state, solved exactly (LSTD-Q: Lagoudakis and Parr 2003; as an
  estimate of value: Le, Voloshin and Yue 2019, arXiv 1903.08738). Refitted in each resample. No weights, so it does not
  degrade with length; wrong by as much as Q is not linear in the features.
- `dr`: doubly robust (Jiang and Li 2016, arXiv 1511.03722, eq. 10), with a linear Q fitted on other dialogues:
  V_t = v(s_t) + (pi / mu)(r_t + V_{t+1} - q(s_t, a_t)). Unbiased where the logged chances are right; its variance is
  that of the weights times what q leaves unexplained.

Where dialogues share something (both sides of one dialogue), `clusters` resamples them together.

The intervals hold chance in the logs, not bias. How far all of them are off where the truth is known:
docs/results/negotiation.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frown.evals.stats import Interval, draws, interval
from frown.evals.weights import Array, as_result, as_weights, divide
from frown.recipes.negotiation.logs import Logs

Chances = Callable[[NDArray[np.float32]], Array]
"""A target policy: states [M, F] to the chances of the actions [M, A]."""
_RIDGE = 1e-3
RESAMPLES = 400


@dataclass(frozen=True)
class Estimate:
    """The value of a policy and its gain over what was earned in fact, each with its interval (None: undefined).

    `effective`: by the weights, of how many dialogues it is made (all of them where there are no weights); `total`: of
    how many it could be. Where it is a handful, the interval, too, is made of a handful, and is not to be believed.
    """

    value: Interval | None
    gain: Interval | None
    effective: float
    total: int


@dataclass(frozen=True, eq=False)
class _Sums:
    """Of each dialogue: its return, weight, doubly robust value, and its part in the equations of the linear Q."""

    earned: Array
    weight: Array
    robust: Array
    matrix: Array
    target: Array
    start: Array


def estimate_policy(
    logs: Logs, policy: Chances, q: Array, clusters: NDArray[np.int64] | None = None
) -> dict[str, Estimate]:
    """All four estimates of one policy. `q`: from `fit_q` on other dialogues; `clusters` [B]: ids of what is shared."""
    sums = _sums(logs, policy, q)
    ids = np.arange(logs.episodes) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    count = int(ids.max()) + 1
    using = draws(1, count, RESAMPLES)
    size = np.bincount(ids).astype(np.float64)

    def together(values: Array) -> Array:
        out = np.zeros((count, *values.shape[1:]))
        np.add.at(out, ids, values)
        return out

    columns = {
        "behaviour": (together(sums.earned), size),
        "wis": (together(sums.weight * sums.earned), together(sums.weight)),
        "dr": (together(sums.robust), size),
    }
    linear = (together(sums.matrix), together(sums.target), together(sums.start))
    earned = columns["behaviour"]
    effective = float(sums.weight.sum() ** 2 / max((sums.weight**2).sum(), np.finfo(float).tiny))
    out = {}
    for name, (top, below) in columns.items():
        value = interval(_ratio, top[None], below[None], using=using)
        gain = interval(_gain, top[None], below[None], earned[0][None], size[None], using=using)
        n = float(logs.episodes) if name == "behaviour" else effective
        out[name] = Estimate(value, None if name == "behaviour" else gain, n, logs.episodes)
    arrays = tuple(x[None] for x in linear)
    value = interval(_linear_value, *arrays, size[None], using=using)
    gain = interval(_linear_gain, *arrays, earned[0][None], size[None], using=using)
    out["fqe"] = Estimate(value, gain, float(logs.episodes), logs.episodes)
    return out


def fit_q(logs: Logs, policy: Chances) -> Array:
    """Weights of the linear Q of `policy`, from these dialogues: [D]. No discount."""
    now, later = _now_and_later(logs, policy)
    return _solve((now.T @ (now - later))[None], (now.T @ logs.rewards)[None])[0]


def features(states: NDArray[np.float32]) -> Array:
    """Features of the linear Q of each action: 1, the state, and its products with its first column [M, 1 + 2F].

    The first column is their last move, and of people the number of their messages.
    """
    x = states.astype(np.float64)
    return np.column_stack([np.ones(len(x)), x, x * x[:, :1]])


def _crossed(states: NDArray[np.float32], chances: Array) -> Array:
    """[M, D]: expected features under chances of the actions."""
    x = features(states)
    return (x[:, None, :] * chances[:, :, None]).reshape(len(x), -1)


def _now_and_later(logs: Logs, policy: Chances) -> tuple[Array, Array]:
    """Features of each transition and those expected after it: [M, D] each."""
    actions = policy(logs.states[:1]).shape[1]
    now = _crossed(logs.states, np.eye(actions)[logs.actions])
    return now, _crossed(logs.next_states, policy(logs.next_states)) * ~logs.dones[:, None]


def _equations(logs: Logs, policy: Chances) -> tuple[Array, Array]:
    now, later = _now_and_later(logs, policy)
    cuts = np.searchsorted(logs.episode_ids, np.arange(1, logs.episodes))
    parts = [np.split(x, cuts) for x in (now, later, logs.rewards)]
    matrix = np.stack([x.T @ (x - y) for x, y, _ in zip(*parts, strict=True)])
    return matrix, np.stack([x.T @ r for x, _, r in zip(*parts, strict=True)])


def _solve(matrix: Array, target: Array) -> Array:
    """[B, D, D], [B, D] -> [B, D]; a little ridge keeps what was never logged at zero."""
    solved = np.linalg.solve(matrix + _RIDGE * np.eye(matrix.shape[-1]), target[..., None])[..., 0]
    return np.asarray(solved, dtype=np.float64)


def _sums(logs: Logs, policy: Chances, q: Array) -> _Sums:
    chances = policy(logs.states)
    taken = chances[np.arange(len(logs.actions)), logs.actions]
    ratio = taken / logs.chances
    value = _crossed(logs.states, chances) @ q
    worth = _crossed(logs.states, np.eye(chances.shape[1])[logs.actions]) @ q
    first = logs.step_ids == 0
    weight = np.ones(logs.episodes)
    np.multiply.at(weight, logs.episode_ids, ratio)
    robust = np.zeros(logs.episodes)
    for t in reversed(range(int(logs.step_ids.max()) + 1)):
        at = logs.step_ids == t
        later = robust[logs.episode_ids[at]]
        robust[logs.episode_ids[at]] = value[at] + ratio[at] * (logs.rewards[at] + later - worth[at])
    matrix, target = _equations(logs, policy)
    return _Sums(logs.returns(), weight, robust, matrix, target, _crossed(logs.states[first], chances[first]))


def _ratio(top: Array, below: Array, weights: Array | None = None) -> Array:
    w = as_weights(weights, len(top))
    return as_result(divide(w @ top, w @ below), weights)


def _gain(top: Array, below: Array, earned: Array, size: Array, weights: Array | None = None) -> Array:
    return _ratio(top, below, weights) - _ratio(earned, size, weights)


def _linear_value(matrix: Array, target: Array, start: Array, size: Array, weights: Array | None = None) -> Array:
    w = as_weights(weights, len(matrix))
    width = matrix.shape[1]
    solved = _solve((w @ matrix.reshape(len(matrix), -1)).reshape(-1, width, width), w @ target)
    return as_result(divide(((w @ start) * solved).sum(axis=1), w @ size), weights)


def _linear_gain(
    matrix: Array, target: Array, start: Array, earned: Array, size: Array, weights: Array | None = None
) -> Array:
    return _linear_value(matrix, target, start, size, weights) - _ratio(earned, size, weights)
