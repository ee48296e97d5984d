"""Answers from vLLM, in this process or behind a server, through TRL's generation client. The one module that imports
TRL's part for vLLM.

TRL sends the requests, pushes the weights and knows vLLM's versions. Here stand the contract of `frown.policy.sampling`
(ids in, the very ids out, log-probabilities of the distribution sampled from), time limits, and errors of one line.
What vLLM's log-probabilities cannot say (entropy and the like, of the whole vocabulary) the trainer's own forward does.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch

from frown.config import VLLMConfig
from frown.errors import FrownError, NotFinite, first_line, printable
from frown.policy.parts import collected, is_part
from frown.policy.sampling import Decoding, Sample
from frown.runtime.processes import ALONE, Ranks
from frown.teacher.weights import merged_weights
from frown.types import Ints

INSTALL = 'sampling.vllm needs TRL and vLLM on Linux with CUDA: pip install "frown[vllm]"'
SERVE = (
    "VLLM_SERVER_DEV_MODE=1 vllm serve MODEL --logprobs-mode processed_logprobs "
    """--weight-transfer-config '{"backend": "nccl"}'"""
)
"""How a server is started that can do all that is asked of it."""

try:
    import requests
    from accelerate import Accelerator
    from requests.adapters import HTTPAdapter
    from trl.generation.vllm_client import VLLMClient
    from trl.generation.vllm_generation import VLLMGeneration
    from urllib3.util.retry import Retry
except ImportError as error:
    raise FrownError(f"{INSTALL} ({first_line(error)})") from None

_PROBE = "Zwölf Boxkämpfer: 12345 = 3 * 4115!\n\n\tif x_1 >= -0.5: naïve 東京 <|end|>"
"""A text that different tokenizers cut differently."""

_UNREACHED = ("connection refused", "connection aborted", "reset by peer", "failed to resolve", "timed out")
"""Why a connection fails, as urllib3 says it between the names of its objects."""

_NO_LOGP = -9999.0
"""How vLLM writes minus infinity."""

Read = Callable[[Sequence[Ints], Sequence[Ints], float], list[tuple[dict[str, torch.Tensor], torch.Tensor]]]
"""(prompts, answers, temperature) -> of each answer its signals, name -> [T], and at each token the likeliest other."""


class Sampler:
    """A policy's answers from vLLM. Its weights are vLLM's own until the first `sync`.

    Several processes of a run ask one server, each for its own prompts, side by side; the first one sends the weights.
    All of them call `sync` and `sample` alike.

    Raises:
        FrownError: TRL or vLLM is not installed, the server does not answer in `wait` seconds, is not one that can
            be trained with, or serves a model with another tokenizer.
    """

    def __init__(self, settings: VLLMConfig, model: Any, tokenizer: Any, device: torch.device, ranks: Ranks = ALONE):
        at_once = max(1, settings.concurrency // ranks.size)
        self._settings, self._ranks = settings.model_copy(update={"concurrency": at_once}), ranks
        self._place = f"vLLM at {settings.base_url}" if settings.mode == "server" else "colocated vLLM"
        self._logprobs_mode = "processed_logprobs"
        self._vocabulary = len(model.get_input_embeddings().weight)
        self._room: int | None = None
        self._synced: int | None = None
        with self._in_one_line(
            "when it was started" if settings.mode == "colocate" else "when it was asked what it serves"
        ):
            self._vllm = _Generation(self._settings, model, tokenizer, device)
            if settings.mode == "server":
                self._meet(self._vllm.vllm_client, tokenizer)

    def _meet(self, client: VLLMClient, tokenizer: Any) -> None:
        """Look whether a server is one to train with, before any weight or prompt is sent."""
        self._logprobs_mode = client.get_server_info()["model_config"]["logprobs_mode"]
        self._room = client._get(f"{client.base_url}/v1/models")["data"][0]["max_model_len"]
        response = client.session.post(
            f"{client.base_url}/tokenize",
            json={"model": client.model, "prompt": _PROBE, "add_special_tokens": False},
        )
        # A server may be without this endpoint. It is asked only ids, and refuses weights that do not fit.
        ids = tokenizer(_PROBE, add_special_tokens=False)["input_ids"]
        if response.status_code != 404 and response.json()["tokens"] != ids:
            raise FrownError(
                f"{self._place} serves {printable(client.model)!r}, whose tokenizer is not the student's; start it "
                "with the model that is trained (model.path)"
            )

    def due(self, step: int) -> bool:
        """Whether the weights in vLLM are older, at this optimiser step, than they may be."""
        if self._synced is None or step < self._synced:  # the policy went back to a checkpoint
            return True
        return step - self._synced >= self._settings.sync_every

    def sync(self, step: int) -> None:
        """Push the policy's present weights, adapters merged, unless they are there. `step`: optimiser steps taken.

        Costs one broadcast of all weights over NCCL, for which all processes wait; of a sharded model the first one
        holds all weights on its CPU meanwhile.

        Raises:
            FrownError: the trainer has no CUDA device, or the server would not take the weights.
        """
        if self._synced == step:
            return
        self._vllm.wholes = self._ranks.together(lambda: self._vllm.put_together(here=self._ranks.first))
        self._ranks.from_first(self._push)
        self._synced, self._vllm.wholes = step, {}

    def _push(self) -> None:
        with self._in_one_line("when it was sent the policy's weights"):
            try:
                self._vllm.sync_weights()
            except NotImplementedError:
                raise FrownError(
                    "weights reach vLLM through NCCL, which needs the trainer on a CUDA device: set model.device to "
                    "one, or leave sampling.vllm out to sample in this process"
                ) from None

    def sample(
        self, prompts: Sequence[Ints], n: int, decoding: Decoding, *, seed: int, read: Read
    ) -> list[list[Sample]]:
        """n completions of each prompt, in order: all of them or an error, as `frown.policy.sampling.sample`.

        `Sample.logp` is vLLM's, of the distribution it sampled from: softmax(logits / temperature) over the whole
        vocabulary. Signals are `read`'s, of the trainer's weights. A server draws by `seed`, as far as vLLM keeps to
        it; a colocated vLLM by a seed of its own.

        Raises:
            FrownError: a prompt too long for the server, log-probabilities of another distribution, answers that are
                not what was asked for, or a server that fails or is silent for `timeout` seconds.
            NotFinite: a log-probability that is no number.
        """
        # Whoever was refused says so before anyone reads: a sharded model is read by all processes or by none.
        flat = self._ranks.together(lambda: self._answers(prompts, n, decoding, seed))
        readings = read([p for p in prompts for _ in range(n)], [ids.numpy() for ids, _ in flat], decoding.temperature)
        samples = [
            Sample(ids, logp, signals, other, int(ids[-1]) in decoding.eos_ids)
            for (ids, logp), (signals, other) in zip(flat, readings, strict=True)
        ]
        return [samples[i : i + n] for i in range(0, len(samples), n)]

    def _answers(
        self, prompts: Sequence[Ints], n: int, decoding: Decoding, seed: int
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Ids and log-probabilities of n answers to each prompt."""
        self._check_logprobs(decoding.temperature)
        asked = [p.tolist() for p in prompts]
        longest = max(map(len, asked), default=0)
        if self._room is not None and longest + decoding.max_new_tokens > self._room:
            raise FrownError(
                f"a prompt of {longest} tokens and {decoding.max_new_tokens} new ones do not fit the {self._room} of "
                f"{self._place}; start it with a larger --max-model-len or lower sampling.max_new_tokens"
            )
        if not asked:  # fewer prompts than processes
            return []
        with self._in_one_line("when it was asked for answers"):
            answered, ids, logps, names = self._vllm.ask(asked, n, decoding, seed)
            if answered != [p for p in asked for _ in range(n)]:
                raise FrownError(f"{self._place} answered other prompts than it was sent")
            return [
                self._checked(row, self._of_sampled(row, p, k), decoding)
                for row, p, k in zip(ids, logps, names, strict=True)
            ]

    def _of_sampled(
        self, ids: Sequence[int], logps: Sequence[Sequence[float | None]], names: Sequence[Sequence[int]]
    ) -> list[float | None]:
        """The log-probability of each token that was sampled, among those that were given at its place."""
        by_id = [dict(zip(k, p, strict=True)) for k, p in zip(names, logps, strict=True)]
        if len(by_id) != len(ids) or any(i not in logp_of for i, logp_of in zip(ids, by_id, strict=True)):
            raise FrownError(f"{self._place} gave log-probabilities of other tokens than those it sampled")
        return [logp_of[i] for i, logp_of in zip(ids, by_id, strict=True)]

    def _checked(
        self, ids: Sequence[int], logp: Sequence[float | None], decoding: Decoding
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One answer and its log-probabilities, if it is an answer to what was asked."""
        place, most, ends = self._place, decoding.max_new_tokens, decoding.eos_ids
        if not 0 < len(ids) <= most:
            raise FrownError(f"{place} gave {len(ids)} tokens where 1 to {most} were asked for")
        if not 0 <= min(ids) <= max(ids) < self._vocabulary:
            raise FrownError(f"{place} gave a token beyond the student's {self._vocabulary}; does it serve that model?")
        if any(i in ends for i in ids[:-1]):
            raise FrownError(f"{place} went on after a token that ends answers; start it without ignore_eos")
        if len(ids) < most and ids[-1] not in ends:
            raise FrownError(
                f"{place} ended an answer after {len(ids)} of {most} tokens, at token {ids[-1]}, which ends none for "
                "the student: start it with --generation-config vllm"
            )
        if any(p is None or not math.isfinite(p) or p <= _NO_LOGP for p in logp):
            raise NotFinite(f"{place} gave a log-probability that is not finite")
        if max(p for p in logp if p is not None) > 1e-3:
            raise FrownError(
                f"{place} gave a log-probability above 0: start it with --logprobs-mode processed_logprobs"
            )
        return torch.tensor(ids), torch.tensor(logp, dtype=torch.float32)

    def _check_logprobs(self, temperature: float) -> None:
        """Raw log-probabilities are those before the temperature: off by a factor, and not by what is left out."""
        mode = self._logprobs_mode
        if mode != "processed_logprobs" and (mode != "raw_logprobs" or temperature != 1.0):
            raise FrownError(
                f"{self._place} gives {printable(str(mode))}, which at temperature {temperature:g} are not the "
                "log-probabilities of what it sampled: start it with --logprobs-mode processed_logprobs"
            )

    @contextmanager
    def _in_one_line(self, when: str) -> Iterator[None]:
        """Whatever goes wrong in TRL, vLLM or on the way becomes one line."""
        try:
            yield
        except FrownError:
            raise
        except ImportError as error:
            raise FrownError(f"{INSTALL} ({first_line(error)})") from None
        except (requests.RequestException, ConnectionError) as error:
            raise FrownError(self._lost(error, when)) from None
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            what = printable(f"{type(error).__name__}: {first_line(error)}")
            raise FrownError(f"{self._place} answered something that is no vLLM's answer {when} ({what})") from error
        except Exception as error:  # TRL raises bare ones, vLLM whatever its engine meets
            raise FrownError(f"{self._place} failed {when}: {printable(str(error))}") from error

    def _lost(self, error: Exception, when: str) -> str:
        """Why nothing came of a request."""
        if isinstance(error, requests.exceptions.InvalidJSONError):
            return f"{self._place} answered something that is not JSON {when}; is it a vLLM?"
        if isinstance(error, requests.exceptions.ChunkedEncodingError):
            return f"{self._place} broke off its answer {when}; look at its log"
        if "Read timed out" in str(error):
            limit = f"sampling.vllm.timeout = {self._settings.timeout:g}"
            return f"{self._place} was silent too long {when}; look at its log, or raise {limit}"
        message = str(error)
        why = next((known for known in _UNREACHED if known.lower() in message.lower()), printable(message))
        return f"{self._place} cannot be reached {when} ({why}); start it ({SERVE}) or correct sampling.vllm.base_url"


class _Patient(HTTPAdapter):
    """Requests that end: each may be silent for so long, and TRL's session, which waits for ever, cannot forget it."""

    def __init__(self, seconds: float, retries: int, connections: int):
        # Nothing is sent again that the server may be at work on.
        again = Retry(
            total=retries,
            read=False,
            backoff_factor=0.5,
            status_forcelist=[502, 503],
            allowed_methods=None,
            respect_retry_after_header=False,
            raise_on_status=False,
        )
        super().__init__(max_retries=again, pool_maxsize=connections)
        self._seconds = seconds

    def send(self, request: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        return super().send(request, **kwargs | {"timeout": (min(10.0, self._seconds), self._seconds)})


class _Client(VLLMClient):
    """TRL's client, with time limits, and a request for each prompt."""

    def __init__(self, settings: VLLMConfig):
        self._settings = settings
        super().__init__(settings.base_url, group_port=settings.group_port, connection_timeout=settings.wait)

    def check_server(self, total_timeout: float = 0.0, retry_interval: float = 2.0) -> None:
        """Wait until the server is healthy. TRL's own asks outside of its session, and does not stop asking a server
        that answers anything but 200."""
        timeout, connections = self._settings.timeout, self._settings.concurrency
        self.session.mount(self.base_url, _Patient(min(timeout, 30.0), 0, 1))
        end = time.monotonic() + total_timeout
        while True:
            why: object = None
            try:
                response = self.session.get(f"{self.base_url}/health")
                if response.status_code == 200:
                    break
                why = f"/health says {response.status_code}"
            except requests.ConnectionError as error:
                why = error
            if time.monotonic() + retry_interval > end:
                raise ConnectionError(why)
            time.sleep(retry_interval)
        self.session.mount(self.base_url, _Patient(timeout, 0, connections))
        # Sampling twice does no harm; a weight update begun twice would.
        self.session.mount(f"{self.base_url}/v1/", _Patient(timeout, 3, connections))

    def generate(  # type: ignore[override]
        self, prompts: Any, *, n: int = 1, generation_kwargs: Any = None, **settings: Any
    ) -> dict[str, Any]:
        """TRL's, one request a prompt and side by side: a request gives the same random numbers to all its prompts,
        and a reply that holds a whole step is long in coming."""

        def ask(i: int) -> dict[str, Any]:
            own = {**generation_kwargs, "seed": (generation_kwargs["seed"] + i * n) % 2**62}
            part = VLLMClient.generate(self, [prompts[i]], n=n, generation_kwargs=own, **settings)
            if len(part["completion_ids"]) != n:
                raise ValueError(f"{len(part['completion_ids'])} answers where {n} were asked for")
            return part

        pool = ThreadPoolExecutor(min(self._settings.concurrency, len(prompts)))
        try:
            parts = list(pool.map(ask, range(len(prompts))))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # after an error or Ctrl-C the others are not waited for
        return {name: [row for part in parts for row in part[name]] for name in parts[0]}


class _Generation(VLLMGeneration):
    """TRL's generation, with the client above, and adapters that are merged beside the weights, not into them."""

    def __init__(self, settings: VLLMConfig, model: Any, tokenizer: Any, device: torch.device):
        self._settings, self._device = settings, device
        self.wholes: dict[str, torch.Tensor] = {}
        """What is sent instead of the model's own weights, where these are in parts."""
        super().__init__(
            model,
            Accelerator(),
            tokenizer,
            mode=settings.mode,
            tensor_parallel_size=settings.tensor_parallel,
            gpu_memory_utilization=settings.memory_share,
        )

    def _init_vllm(self) -> None:
        if self.mode == "colocate":
            super()._init_vllm()
        else:
            self.vllm_client = _Client(self._settings)  # what weights need is made at the first of them

    def ask(self, prompts: list[list[int]], n: int, decoding: Decoding, seed: int) -> tuple[list, list, list, list]:
        """Prompts and answers as ids, log-probabilities, and the tokens these are of: one row an answer."""
        own = {"stop_token_ids": list(decoding.eos_ids)}
        if self.mode == "server":  # TRL's way would gather the prompts of all processes, and ask in the first one
            reply = self.vllm_client.generate(
                prompts,
                n=n,
                temperature=decoding.temperature,
                max_tokens=decoding.max_new_tokens,
                generation_kwargs={**own, "seed": seed},
            )
            prompts = [p for p in reply["prompt_ids"] for _ in range(n)]
            return prompts, reply["completion_ids"], reply["logprobs"], reply["logprob_token_ids"]
        self.temperature, self.max_completion_length = decoding.temperature, decoding.max_new_tokens
        # A colocated vLLM is asked for each answer by itself: a seed would make those of a prompt all the same.
        self.generation_kwargs = own
        return self.generate([p for p in prompts for _ in range(n)], None, n)

    def sync_weights(self) -> None:
        """TRL's; the first time, the way that the weights take to the server is made."""
        if self.mode == "server" and self.vllm_client.communicator is None:
            self.vllm_client.init_communicator(self._device)
        super().sync_weights()

    def put_together(self, *, here: bool) -> dict[str, torch.Tensor]:
        """The weights of a sharded model, whole and on the CPU, in the process that wants them `here`; else nothing.
        Every process asks."""
        if not any(map(is_part, self.model.parameters())):
            return {}
        wholes = ((name, collected(weight)) for name, weight in self._weights())
        return {name: weight for name, weight in wholes if here}

    def _iter_named_params(self) -> Iterator[tuple[str, torch.Tensor]]:
        if self.wholes:
            return ((name, weight.to(self._device)) for name, weight in self.wholes.items())
        return self._weights()

    def _weights(self) -> Iterator[tuple[str, torch.Tensor]]:
        """The weights by vLLM's names, as this process holds them."""
        model: Any = self.model
        if hasattr(model, "disable_adapter") and not (self._dist.is_fsdp or self._dist.is_zero3):
            # TRL adds the adapters to the weights and takes them off again, which in bfloat16 leaves other weights.
            names = {name.replace(".base_layer", "") for name, _ in model.get_base_model().named_parameters()}
            _refuse_shared_embedding(model.get_base_model())
            with torch.no_grad():
                for name, weight in merged_weights(model, rounded=True):
                    if name not in names:  # vLLM leaves it out, without a word
                        raise FrownError(
                            f"vLLM has no {name} of its own for this model, whose embedding it is, too: leave it "
                            "out of model.lora.targets"
                        )
                    yield name, weight
        else:
            yield from super()._iter_named_params()


def _refuse_shared_embedding(model: Any) -> None:
    """Raise FrownError for an adapter on an embedding that is the head, too: vLLM has one weight for both."""
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    if hasattr(embedding, "get_base_layer") and embedding.get_base_layer().weight is getattr(head, "weight", None):
        raise FrownError(
            "vLLM has one weight for embedding and head of this model, and the embedding alone has an adapter: leave "
            "it out of model.lora.targets"
        )
