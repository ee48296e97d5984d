"""Answers through TRL's vLLM client: the contract, against a loopback server around a small model; no GPU, no vLLM.

TRL's own look for vLLM is answered with yes. Faked is what needs CUDA alone: making the NCCL group, and the broadcast.
"""

from __future__ import annotations

import copy
import threading
from queue import Queue
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("requests", reason="TRL's vLLM client needs requests")
pytest.importorskip("trl", reason="the vLLM engine is TRL's")

from transformers import AutoModelForCausalLM
from trl.generation import vllm_client, vllm_generation

from frown.config import RunConfig, parse
from frown.errors import FrownError, NotFinite
from frown.policy import vllm
from frown.policy.load import load, resolve
from frown.policy.policy import Policy, policy_of
from frown.policy.sampling import Decoding, sample
from frown.store.run_directory import RunDirectory
from frown.training.run import train
from frown.types import Task
from tiny import byte_model
from vllm_server import VLLMServer

pytestmark = pytest.mark.slow

TASKS = [Task("1", ({"role": "user", "content": "hi"},), "x"), Task("2", ({"role": "user", "content": "yes?"},), "y")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return byte_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def server(folder):
    server = VLLMServer(folder)
    yield server
    server.close()


@pytest.fixture(autouse=True)
def there(monkeypatch):
    """TRL believes that vLLM is there."""
    for module in (vllm_client, vllm_generation):
        monkeypatch.setattr(module, "is_vllm_available", lambda min_version=None: True)


@pytest.fixture
def wire(monkeypatch):
    """A way for weights from the trainer to any server, instead of NCCL: a queue. Gives the servers' queues."""
    ends: dict[str, Queue] = {}

    def init(self, device):
        self.get_server_info()
        self.communicator = ends[self.base_url]

    class Engine:
        @staticmethod
        def trainer_send_weights(iterator, trainer_args):
            for name, tensor in iterator:
                trainer_args["group"].put((name, tensor.detach().clone()))

    monkeypatch.setattr(vllm_client.VLLMClient, "init_communicator", init)
    monkeypatch.setattr(vllm_client.VLLMClient, "close_communicator", lambda self: None)
    monkeypatch.setattr(vllm_client, "NCCLWeightTransferEngine", Engine, raising=False)
    monkeypatch.setattr(vllm_client, "NCCLTrainerSendWeightsArgs", dict, raising=False)
    return ends


def policy(path, url, *, vllm=None, model=None, **sampling) -> Policy:
    values = {
        "model": {"path": str(path), **(model or {})},
        "task": {"kind": "exact"},
        "sampling": {
            "max_new_tokens": 20,
            "vllm": {"base_url": url, "wait": 0, "timeout": 600, **(vllm or {})},
            **sampling,
        },
    }
    return policy_of(parse(RunConfig, values, "test"))


def synced(e: Policy) -> Policy:
    """As after a sync: for tests of what is asked, not of weights."""
    e.vllm._synced = e.steps_taken
    return e


def plain_logp(model, r) -> np.ndarray:
    """By a plain forward pass of one answer, without anything of the policy's."""
    ids = torch.as_tensor(np.concatenate([r.prompt_ids, r.ids]))[None]
    with torch.no_grad():
        logits = model(ids).logits[0, len(r.prompt_ids) - 1 : -1].double() / r.temperature
    return logits.log_softmax(-1)[np.arange(len(r.ids)), r.ids].numpy()


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_answers_are_the_servers_verbatim(folder, server, temperature):
    e = synced(policy(folder, server.url))
    said = []
    server.acts["/v1/completions"].extend([lambda answer: said.append(answer) or answer] * 2)
    rollouts = e.sample(TASKS, 4, seed=7, temperature=temperature)
    by_prompt = {tuple(a["choices"][0]["prompt_token_ids"]): [c["token_ids"] for c in a["choices"]] for a in said}
    assert [r.ids.tolist() for r in rollouts] == [ids for r in rollouts[::4] for ids in by_prompt[tuple(r.prompt_ids)]]
    assert [r.group for r in rollouts] == [0] * 4 + [1] * 4 and [r.task for r in rollouts[::4]] == TASKS
    # Random bytes: most answers are no UTF-8 at all, and would come back as other tokens.
    again = [e.tokenizer(r.text, add_special_tokens=False)["input_ids"] for r in rollouts]
    assert sum(ids != r.ids.tolist() for ids, r in zip(again, rollouts, strict=True)) >= 4
    for r in rollouts:
        assert np.abs(r.logp - plain_logp(e.model, r)).max() < 1e-5
        assert np.abs(r.signals["surprisal"] + plain_logp(e.model, r)).max() < 1e-5
        assert r.signals.source == "full" and r.temperature == temperature
        assert (r.stop == "eos") == (r.ids[-1] in e.eos_ids) and (r.stop == "eos" or len(r.ids) == 20)
    seeds = [said["seed"] for path, said in server.asked if path == "/v1/completions"]
    assert (
        len(seeds) == 2 and abs(seeds[0] - seeds[1]) >= 4
    )  # vLLM gives the n answers of a request seed, seed + 1, ...


def test_signals_are_the_local_samplers(folder, server):
    """The forward that reads another's answers sees what the sampler that wrote them would have seen."""
    e = synced(policy(folder, server.url))
    local = e.sample(TASKS, 3, seed=1, temperature=0.8, model=e.model)
    assert "/v1/completions" not in server.paths()
    read = e.read([r.prompt_ids for r in local], [r.ids for r in local], 0.8)
    for r, (signals, other) in zip(local, read, strict=True):
        assert signals.keys() == r.signals.values.keys()
        for name, values in signals.items():
            np.testing.assert_allclose(values.numpy(), r.signals[name], rtol=2e-4, atol=2e-5, err_msg=name)
        assert (other.numpy() == r.alternative).all()


def test_signals_that_are_not_finite_are_divergence(folder, server):
    e = synced(policy(folder, server.url))
    with torch.no_grad():
        e.model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(NotFinite):
        e.sample(TASKS[:1], 2, seed=0, temperature=1.0)


def test_an_end_token_ends_and_the_limit_cuts(folder, server):
    e = synced(policy(folder, server.url))
    end = e.eos_ids[0]

    def ended(answer):
        for c in answer["choices"][:1]:
            c["token_ids"] = [*c["token_ids"][:2], end]
            own = c["logprobs"]
            own["tokens"] = [f"token_id:{i}" for i in c["token_ids"]]
            own["token_logprobs"] = own["token_logprobs"][:3]
            own["top_logprobs"] = [{n: p} for n, p in zip(own["tokens"], own["token_logprobs"], strict=True)]
        return answer

    server.acts["/v1/completions"].append(ended)
    first = e.sample(TASKS[:1], 2, seed=0, temperature=1.0)[0]
    assert first.stop == "eos" and first.ids.tolist()[-1] == end and len(first.ids) == len(first.logp) == 3
    assert first.text == e.decode(first.ids[:2].tolist())


@pytest.mark.parametrize(
    ("mode", "temperature", "fine"),
    [
        ("processed_logprobs", 0.5, True),
        ("raw_logprobs", 1.0, True),
        ("raw_logprobs", 0.5, False),
        ("processed_logits", 1.0, False),
    ],
)
def test_log_prob_modes(folder, server, mode, temperature, fine):
    server.config["model_config"]["logprobs_mode"] = mode
    e = synced(policy(folder, server.url))
    if fine:
        e.sample(TASKS, 1, seed=0, temperature=temperature)
        return
    with pytest.raises(FrownError, match=rf"{mode}.*temperature {temperature:g}.*--logprobs-mode processed_logprobs"):
        e.sample(TASKS, 1, seed=0, temperature=temperature)
    assert "/v1/completions" not in server.paths()


HOSTILE = {
    "a hang": ("hang", "silent too long when it was asked for answers.*sampling.vllm.timeout = 3"),
    "broken off": ("truncate", "broke off its answer|cannot be reached.*aborted"),
    "hung up": ("reset", "cannot be reached when it was asked for answers .connection aborted"),
    "half a JSON": ("half", "not JSON"),
    "a page": ("html", "not JSON"),
    "its fault": (500, r"failed when it was asked for answers: Request failed: 500.*told to say 500"),
    "our fault": (400, "400.*told to say 400"),
    "another protocol": (lambda a: {"answers": []}, "no vLLM's answer.*KeyError"),
    "a list": (lambda a: [], "no vLLM's answer"),
    "no log-probabilities": (lambda a: change(a, logprobs=None), "no vLLM's answer"),
    "another prompt": (lambda a: change(a, prompt_token_ids=[1, 2]), "other prompts"),
    "an answer too few": (lambda a: {"choices": a["choices"][:-1]}, "1 answers where 2"),
    "other tokens": (lambda a: change(a, token_ids=[5] * 20), "of other tokens than"),
    "no tokens": (lambda a: shorter(a, 0), "gave 0 tokens"),
    "short": (lambda a: shorter(a, 3), "after 3 of 20 tokens.*--generation-config vllm"),
    "beyond the vocabulary": (lambda a: renamed(a, 99_999), "beyond the student's 261"),
    "after the end": (lambda a: renamed(a, 256), "went on after a token that ends"),
    "likelier than sure": (lambda a: logp(a, 0.5), "above 0"),
}  # fmt: skip


def change(answer, **values):
    return {"choices": [{**c, **values} for c in answer["choices"]]}


def shorter(answer, n):
    cut = [
        {**c, "token_ids": c["token_ids"][:n], "logprobs": {k: v[:n] for k, v in c["logprobs"].items()}}
        for c in answer["choices"]
    ]
    return {"choices": cut}


def renamed(answer, first):
    """Another first token in every answer."""
    for c in answer["choices"]:
        c["token_ids"][0], c["logprobs"]["tokens"][0] = first, f"token_id:{first}"
        c["logprobs"]["top_logprobs"][0] = {f"token_id:{first}": -1.0}
    return answer


def logp(answer, value):
    for c in answer["choices"]:
        own = c["logprobs"]
        own["token_logprobs"] = [value] * len(own["tokens"])
        own["top_logprobs"] = [{n: value} for n in own["tokens"]]
    return answer


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_server_gets_one_line(folder, server, name):
    act, said = HOSTILE[name]
    e = synced(policy(folder, server.url, vllm={"timeout": 3.0 if act == "hang" else 600}))
    server.acts["/v1/completions"].extend([act] * 4)
    with pytest.raises(FrownError, match=said) as caught:
        e.sample(TASKS, 2, seed=0, temperature=1.0)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_a_log_probability_that_is_no_number_is_divergence(folder, server, value):
    e = synced(policy(folder, server.url))
    server.acts["/v1/completions"].append(lambda a: logp(a, value))
    with pytest.raises(NotFinite):
        e.sample(TASKS[:1], 2, seed=0, temperature=1.0)


def test_a_server_that_goes_away(folder, server, monkeypatch):
    monkeypatch.setattr(vllm.Retry, "sleep", lambda self, response=None: None)
    e = synced(policy(folder, server.url))
    server.close()
    e.vllm._vllm.vllm_client.session.close()  # and the connections that were kept
    with pytest.raises(
        FrownError, match="cannot be reached when it was asked for answers .connection (refused|aborted)"
    ):
        e.sample(TASKS, 1, seed=0, temperature=1.0)


def test_a_gateway_that_stumbles_is_asked_again(folder, server):
    e = synced(policy(folder, server.url))
    server.acts["/v1/completions"].extend([503, 502])
    assert len(e.sample(TASKS[:1], 2, seed=0, temperature=1.0)) == 2
    assert server.paths().count("/v1/completions") == 3


def test_prompts_are_asked_side_by_side_and_come_back_in_order(folder, server):
    e = synced(policy(folder, server.url, vllm={"concurrency": 2}))
    both = threading.Barrier(2)
    server.acts["/v1/completions"].extend([lambda answer: (both.wait(600), answer)[1]] * 4)
    rollouts = e.sample([*TASKS, *TASKS], 2, seed=0, temperature=1.0)
    assert [r.task.id for r in rollouts] == ["1", "1", "2", "2"] * 2
    assert [r.prompt_ids.tolist() for r in rollouts[:4]] == [r.prompt_ids.tolist() for r in rollouts[4:]]
    assert rollouts[0].ids.tolist() != rollouts[4].ids.tolist()  # the same prompt again has numbers of its own


def test_prompts_that_do_not_fit_the_server_are_not_sent(folder, server):
    server.room = 24
    e = synced(policy(folder, server.url))
    with pytest.raises(FrownError, match=r"do not fit the 24 of vLLM at .*--max-model-len"):
        e.sample(TASKS, 1, seed=0, temperature=1.0)
    assert "/v1/completions" not in server.paths()


def test_a_server_that_is_not_there(folder):
    with pytest.raises(FrownError, match=r"cannot be reached .*refused.*vllm serve"):
        policy(folder, "http://127.0.0.1:9")


@pytest.mark.parametrize("act", [500, "hang"])
def test_a_server_that_does_not_come_up(folder, server, act):
    server.acts["/health"].extend([act] * 3)
    with pytest.raises(FrownError, match="500" if act == 500 else "silent too long"):
        policy(folder, server.url, vllm={"timeout": 1.0})


def test_a_server_that_comes_up_late(folder, server, monkeypatch):
    monkeypatch.setattr(vllm.time, "sleep", lambda seconds: None)
    server.acts["/health"].extend([503, "reset"])
    policy(folder, server.url, vllm={"wait": 60})
    assert server.paths().count("/health") == 3


def test_a_server_without_development_endpoints(folder, server):
    server.acts["/server_info"].append(404)
    with pytest.raises(FrownError, match="VLLM_SERVER_DEV_MODE=1"):
        policy(folder, server.url)


def test_another_model_is_refused_before_anything_is_sent(server):
    with pytest.raises(FrownError, match=r"serves 'student', whose tokenizer is not the student's.*model\.path"):
        policy(resolve("lab:chains-0"), server.url)
    assert not {"/v1/completions", "/update_weights"} & set(server.paths())


def test_without_cuda_there_is_no_way_for_weights(folder, server, monkeypatch):
    monkeypatch.setattr(vllm_client, "get_ip", lambda: "127.0.0.1", raising=False)
    with pytest.raises(FrownError, match=r"NCCL.*CUDA.*model\.device.*leave sampling\.vllm out"):
        policy(folder, server.url).sample(TASKS, 1, seed=0, temperature=1.0)


def test_a_server_without_weight_transfer(folder, server):
    server.config["weight_transfer_config"] = None
    with pytest.raises(FrownError, match="no weight-transfer engine.*--weight-transfer-config"):
        policy(folder, server.url).sample(TASKS, 1, seed=0, temperature=1.0)


def test_without_vllm_one_line_says_what_to_install(folder, server, monkeypatch):
    monkeypatch.setattr(vllm_client, "is_vllm_available", lambda min_version=None: False)
    with pytest.raises(FrownError, match=r'pip install "frown\[vllm\]"'):
        policy(folder, server.url)


def test_without_trl_one_line_says_what_to_install(monkeypatch):
    import importlib
    import sys

    monkeypatch.setitem(sys.modules, "trl.generation.vllm_client", None)
    monkeypatch.delitem(sys.modules, "frown.policy.vllm")
    with pytest.raises(FrownError, match=r'pip install "frown\[vllm\]"'):
        importlib.import_module("frown.policy.vllm")


UPDATE = ["/start_weight_update", "/update_weights", "/finish_weight_update", "/reset_prefix_cache"]


@pytest.mark.parametrize("stateful", [False, True])
def test_weights_are_announced_sent_and_in_place_before_answers(folder, server, wire, monkeypatch, stateful):
    """In the words of vLLM before 0.28 and since."""
    wire[server.url] = server.wire
    if stateful:
        monkeypatch.setattr(vllm_client, "_HAS_STATEFUL_TRAINER_ENGINE", True)

        def send(iterator, group, src, post_iter_func):
            assert src == 0
            for item in iterator:
                group.put((item[0], post_iter_func(item).detach().clone()))

        monkeypatch.setattr(vllm_client, "packed_nccl_broadcast_producer", send, raising=False)
    e = policy(folder, server.url, vllm={"sync_every": 2})
    with torch.no_grad():
        for p in e.model.parameters():
            p.add_(0.02 * torch.randn_like(p))
    r = e.sample(TASKS[:1], 2, seed=0, temperature=1.0)[0]
    sent = [path for path in server.paths() if path in (*UPDATE, "/v1/completions")]
    assert sent == [*UPDATE, "/v1/completions"]
    info = next(said for path, said in server.asked if path == "/update_weights")["update_info"]
    own = dict(e.model.named_parameters())
    assert info["names"] == list(own) and "lm_head.weight" not in own  # tied weights go once
    assert info["shapes"] == [list(p.shape) for p in own.values()] and set(info["dtype_names"]) == {"float32"}
    assert server.wire.empty()
    for name, p in server.model.named_parameters():
        assert torch.equal(p, own[name])
    assert np.abs(r.logp - plain_logp(e.model, r)).max() < 1e-5

    server.asked.clear()
    e.steps_taken = 1  # not due yet
    e.sample(TASKS[:1], 1, seed=0, temperature=1.0)
    assert "/update_weights" not in server.paths()
    e.sync()  # as before an evaluation
    e.sync()
    assert server.paths().count("/update_weights") == 1
    e.steps_taken = 3
    e.sample(TASKS[:1], 1, seed=0, temperature=1.0)
    assert server.paths().count("/update_weights") == 2
    e.steps_taken = 2  # back to a checkpoint: these are other weights, however few steps ago
    e.sample(TASKS[:1], 1, seed=0, temperature=1.0)
    assert server.paths().count("/update_weights") == 3


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_adapters_are_sent_merged_and_the_student_stays_as_it_is(folder, server, wire, dtype):
    pytest.importorskip("peft")
    wire[server.url] = server.wire
    e = policy(folder, server.url, model={"lora": {"rank": 2}, "dtype": dtype})
    torch.manual_seed(0)
    with torch.no_grad():
        for name, p in e.model.named_parameters():
            if "lora_B" in name:
                p.normal_(std=0.1)
    before = {name: p.clone() for name, p in e.model.named_parameters()}
    e.sync()
    assert all(torch.equal(p, before[name]) for name, p in e.model.named_parameters())
    merged = copy.deepcopy(e.model).merge_and_unload()  # peft's own
    own = dict(merged.named_parameters())
    info = next(said for path, said in server.asked if path == "/update_weights")["update_info"]
    assert info["names"] == list(own) and set(info["dtype_names"]) == {dtype}
    tolerance = 1e-6 if dtype == "float32" else 1e-2
    for name, p in server.model.named_parameters():
        torch.testing.assert_close(p, own[name].float(), rtol=tolerance, atol=tolerance)
    base = before["base_model.model.model.layers.0.self_attn.q_proj.base_layer.weight"]
    assert not torch.equal(own["model.layers.0.self_attn.q_proj.weight"], base)


@pytest.mark.parametrize(
    ("targets", "words"),
    [(["lm_head", "q_proj"], r"vLLM has no lm_head\.weight"), (["embed_tokens"], "the embedding alone has an adapter")],
)
def test_an_adapter_on_a_tied_head_is_refused_before_anything_is_sent(folder, server, wire, targets, words):
    """vLLM leaves out the head of a tied model, and would sample from another policy without a word."""
    pytest.importorskip("peft")
    wire[server.url] = server.wire
    e = policy(folder, server.url, model={"lora": {"rank": 2, "targets": targets}})
    with pytest.raises(FrownError, match=rf"{words}.*model\.lora\.targets"):
        e.sync()
    assert "/start_weight_update" not in server.paths()


def test_a_server_that_refuses_weights(folder, server, wire):
    wire[server.url] = server.wire
    server.acts["/update_weights"].append(500)
    e = policy(folder, server.url)
    with pytest.raises(FrownError, match="failed when it was sent the policy's weights: Request failed: 500"):
        e.sample(TASKS, 1, seed=0, temperature=1.0)
    assert e.vllm.due(0)  # nothing was taken over
    assert server.paths().count("/update_weights") == 1  # and nothing sent twice


class ColocatedLLM:
    """As much of vLLM's LLM as TRL uses of it."""

    made: ColocatedLLM

    def __init__(self, model, **settings):
        ColocatedLLM.made = self
        self.settings, self.asked = settings, []
        self.model = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
        runner = SimpleNamespace(model=SimpleNamespace(load_weights=self.load))
        worker = SimpleNamespace(driver_worker=SimpleNamespace(model_runner=runner))
        self.llm_engine = SimpleNamespace(model_executor=worker)
        self.seed, self.drawn = settings["seed"], 0

    def load(self, pairs):
        for name, tensor in pairs:
            dict(self.model.named_parameters())[name].data.copy_(tensor)

    def reset_prefix_cache(self):
        self.asked.append("reset")

    def generate(self, prompts, sampling_params, use_tqdm):
        self.asked.append((prompts, sampling_params))
        ids = [np.asarray(p["prompt_token_ids"]) for p in prompts]
        decoding = Decoding(sampling_params["temperature"], sampling_params["max_tokens"],
                            sampling_params["stop_token_ids"], 0)  # fmt: skip
        groups = sample(self.model, ids, 1, decoding, seed=self.seed, first=self.drawn, tokens_at_once=1 << 16)
        self.drawn += len(ids)
        return [
            SimpleNamespace(
                prompt_token_ids=p.tolist(),
                outputs=[
                    SimpleNamespace(
                        token_ids=s.ids.tolist(),
                        logprobs=[
                            {i: SimpleNamespace(logprob=v, rank=3)}
                            for i, v in zip(s.ids.tolist(), s.logp.tolist(), strict=True)
                        ],
                    )
                ],
            )
            for p, (s,) in zip(ids, groups, strict=True)
        ]


def test_colocated_with_the_trainer(folder, monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "0")  # TRL sets them; what they were before comes back
    monkeypatch.setattr(vllm_generation, "LLM", ColocatedLLM, raising=False)
    monkeypatch.setattr(vllm_generation, "SamplingParams", dict, raising=False)
    e = policy(folder, "http://unused", vllm={"mode": "colocate", "memory_share": 0.4})
    with torch.no_grad():
        for p in e.model.parameters():
            p.add_(0.02 * torch.randn_like(p))
    rollouts = e.sample(TASKS, 3, seed=0, temperature=0.7)
    llm = ColocatedLLM.made
    assert llm.settings["logprobs_mode"] == "processed_logprobs" and llm.settings["gpu_memory_utilization"] == 0.4
    assert llm.asked[0] == "reset"  # weights first
    [(prompts, params)] = llm.asked[1:]
    assert [p["prompt_token_ids"] for p in prompts] == [r.prompt_ids.tolist() for r in rollouts]
    assert params["n"] == 1 and params["logprobs"] == 0 and params["stop_token_ids"] == e.eos_ids
    assert "seed" not in params  # the answers to a prompt would all be the same
    assert (params["temperature"], params["top_p"], params["top_k"], params["max_tokens"]) == (0.7, 1.0, 0, 20)
    assert len({r.ids.tobytes() for r in rollouts}) == 6 and [r.group for r in rollouts] == [0] * 3 + [1] * 3
    for r in rollouts:
        assert np.abs(r.logp - plain_logp(e.model, r)).max() < 1e-5


def test_one_vllm_serves_one_run_at_a_time(tmp_path):
    from frown.comparison.cells import Cell
    from frown.comparison.workers import run_all

    cells = [Cell("a", seed, run_config("http://127.0.0.1:9"), tmp_path / str(seed)) for seed in (0, 1)]
    with pytest.raises(FrownError, match="one run at a time"):
        run_all(cells, 2, lambda: None)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://user:pass@host:8000", "base_url holds a user"),
        ("somewhere:8000", 'base_url is no URL.*"http://localhost:8000"'),
        ("http://host:8000?key=1", "a query"),
    ],
)
def test_an_address_holds_no_secret(url, said):
    with pytest.raises(FrownError, match=said) as caught:
        run_config(url)
    assert url not in str(caught.value)
    assert run_config("http://host:8000/v1/").sampling.vllm.base_url == "http://host:8000"


def run_config(url, **vllm) -> RunConfig:
    values = {
        "sampling": {
            "prompts_per_step": 3,
            "responses_per_prompt": 2,
            "max_new_tokens": 60,
            "vllm": {"base_url": url, "wait": 0, "timeout": 600, **vllm},
        },
        "method": "opsd",
        "task": {"steps": 2},
        "optimiser": {"steps": 2, "lr": 3e-3},
        "loss": {"importance_cap": 1.05},
        "eval": {"every": 2, "prompts": 2, "samples": 2},
    }
    return parse(RunConfig, values, "test")


@pytest.fixture
def lab_server():
    server = VLLMServer(resolve("lab:chains-0"))
    yield server
    server.close()


def test_two_steps_with_the_weights_sent_each_time(lab_server, wire, tmp_path):
    wire[lab_server.url] = lab_server.wire
    train(run_config(lab_server.url), tmp_path / "run")
    run = RunDirectory(tmp_path / "run")
    assert run.status == ("finished", "")
    steps = [m for m in run.metrics() if "loss" in m]
    assert len(steps) == 2 and all(0 <= m["mismatch"] < 1e-6 for m in steps)
    assert lab_server.paths().count("/update_weights") == 3  # at the start, after either step
    after = load(run_config(lab_server.url).model.model_copy(update={"path": str(run.path / "checkpoint")})).model
    for name, p in after.named_parameters():
        assert torch.equal(p, dict(lab_server.model.named_parameters())[name])
    assert [m["step"] for m in run.metrics() if "avg_at_k" in m] == [0, 2]


def test_two_steps_with_old_weights_show_a_mismatch_that_the_cap_bounds(lab_server, wire, tmp_path, monkeypatch):
    from frown.learner import objective as local

    seen = []
    real = local.importance_weight

    def weight(logp, sampled, cap):
        seen.append(float(real(logp, sampled, cap).max()))
        return real(logp, sampled, cap)

    monkeypatch.setattr(local, "importance_weight", weight)
    wire[lab_server.url] = lab_server.wire
    train(run_config(lab_server.url, sync_every=10), tmp_path / "run")
    steps = [m for m in RunDirectory(tmp_path / "run").metrics() if "loss" in m]
    assert steps[0]["mismatch"] < 1e-6 < 1e-4 < steps[1]["mismatch"]
    assert max(seen) == pytest.approx(1.05)  # some token is likelier now by more than the cap
    assert lab_server.paths().count("/update_weights") == 2  # at the start, and before the last evaluation
