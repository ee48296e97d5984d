"""One run in several processes: who they are, who does what, and what passes between them.

Every process runs the same loop on the same data; what costs time is shared out, and its results are brought together
again at once, so that all hold the same batch in the same order. What must happen once (asking a critic, reading and
writing files) happens in the first process, and the others are told. Processes of one run trust each other: what they
tell each other is pickled, and never written to disk.

Sums of gradients go the way of their device (NCCL, or gloo on the CPU), all else through gloo, where a process that has
ended is noticed at once and one that is silent after `distributed.timeout`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from frown.config import RunConfig
from frown.errors import Elsewhere, FrownError, NotFinite, first_line, printable

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")

_MEETING = timedelta(minutes=30)
"""How long processes wait for the last of them to start."""


@dataclass(frozen=True)
class Ranks:
    """A process among those of a run; this one is alone."""

    rank: int = 0
    size: int = 1
    group: Any = None
    """torch's process group, where there are others."""

    @property
    def first(self) -> bool:
        """Whether this is the process that writes, warns and asks."""
        return self.rank == 0

    def share(self, n: int) -> slice:
        """Which of n things are this process's: as many as any other's, or one more or less, and side by side."""
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def gather(self, make: Callable[[], Sequence[T]]) -> list[T]:
        """What all processes make of their shares, in the order of their ranks. Where one raises NotFinite, all do."""
        return list(make())

    def together(self, make: Callable[[], T]) -> T:
        """What this process makes of its own; none goes on where one raises FrownError. The first says why."""
        return make()

    def from_first(self, make: Callable[[], T]) -> T:
        """What the first process makes, in all of them. Where it raises, it alone says why."""
        return make()

    def tensors_from_first(self, make: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """The same of named tensors on the CPU, which are not pickled."""
        return dict(make())

    def total(self, value: float) -> float:
        """The sum of a number over all processes."""
        return value

    def add_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Replace each gradient by its sum over all processes, in which a missing one is 0. One that all lack stays
        missing."""

    def agree(self, value: object, what: str) -> None:
        """Raise FrownError where processes have different values of something that is the same in all."""

    def talking(self) -> AbstractContextManager[None]:
        """Around what may fail because another process has: that becomes one line."""
        return nullcontext()


ALONE = Ranks()


class _Stopped(FrownError):
    """The launcher ends this process, and maybe others: there may be nobody left to tell."""


@dataclass(frozen=True)
class JoinedRanks(Ranks):
    """A process of several; see `joined`.

    Every method is called by all processes, in the same order. Each raises FrownError when another process has ended or
    has been silent for too long.
    """

    timeout: float = 0.0
    """Seconds."""

    def gather(self, make: Callable[[], Sequence[T]]) -> list[T]:
        """What all processes make of their shares, in the order of their ranks. Where one raises NotFinite, all do."""
        import torch.distributed as dist

        made: list[T] | NotFinite
        try:
            made = list(make())
        except NotFinite as error:
            made = error
        parts: list[Any] = [None] * self.size
        with self.talking():
            dist.all_gather_object(parts, made, group=self.group)
        for part in parts:
            if isinstance(part, NotFinite):
                raise part
        return [x for part in parts for x in part]

    def together(self, make: Callable[[], T]) -> T:
        """What this process makes of its own; none goes on where one raises FrownError. The first says why.

        For what may well fail while all others are there to hear of it, such as a server that is asked by all.
        """
        import torch.distributed as dist

        error: FrownError | None = None
        try:
            made = make()
        except _Stopped:
            raise
        except FrownError as raised:
            error = raised
        errors: list[Any] = [None] * self.size
        with self.talking():
            dist.all_gather_object(errors, error, group=self.group)
        failed = [e for e in errors if e is not None]
        if not failed:
            return made
        worst = next((e for e in failed if not isinstance(e, NotFinite)), failed[0])
        if self.first or isinstance(worst, NotFinite):
            raise worst
        raise Elsewhere("the first process says why")

    def from_first(self, make: Callable[[], T]) -> T:
        """What the first process makes, in all of them. Where it raises, it alone says why."""
        if self.first:
            try:
                made = make()
            except Exception:
                self._broadcast(("failed", None))
                raise
            self._broadcast(("made", made))
            return made
        how, value = self._broadcast(None)
        if how == "failed":
            raise Elsewhere("the first process says why")
        return value

    def tensors_from_first(self, make: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """The same of named tensors on the CPU, which are not pickled."""
        import torch
        import torch.distributed as dist

        tensors: dict[str, Tensor] = {}

        def shapes() -> list[tuple[str, Any, Any]]:
            tensors.update({name: x.detach().contiguous() for name, x in make().items()})
            return [(name, x.shape, x.dtype) for name, x in tensors.items()]

        for name, shape, dtype in self.from_first(shapes):
            if not self.first:
                tensors[name] = torch.empty(shape, dtype=dtype)
            with self.talking():
                dist.broadcast(tensors[name], group_src=0, group=self.group)
        return tensors

    def total(self, value: float) -> float:
        """The sum of a number over all processes."""
        return sum(self.gather(lambda: [value]))

    def add_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Replace each gradient by its sum over all processes, in which a missing one is 0. One that all lack stays
        missing."""
        import torch
        import torch.distributed as dist

        there = torch.tensor([p.grad is not None for p in parameters], dtype=torch.uint8)
        with self.talking():
            dist.all_reduce(there, dist.ReduceOp.MAX, group=self.group)  # of all devices: who is missing shows here
            for p, anyone in zip(parameters, there.tolist(), strict=True):
                if anyone:
                    p.grad = torch.zeros_like(p) if p.grad is None else p.grad.contiguous()
                    dist.all_reduce(p.grad, group=self.group)

    def agree(self, value: object, what: str) -> None:
        """Raise FrownError where processes have different values of something that is the same in all."""
        values = self.gather(lambda: [value])
        if odd := [rank for rank, v in enumerate(values) if v != values[0]]:
            raise FrownError(f"processes 0 and {odd[0]} of {self.size} have come apart: they differ in {what}")

    def _broadcast(self, value: Any) -> Any:
        import torch.distributed as dist

        values = [value]
        with self.talking():
            dist.broadcast_object_list(values, group_src=0, group=self.group)
        return values[0]

    @contextmanager
    def talking(self) -> Iterator[None]:
        """Around what may fail because another process has: that becomes one line."""
        import torch.distributed as dist

        try:
            yield
        except RuntimeError as error:
            message = str(error).lower()
            if not isinstance(error, dist.DistError) and "gloo" not in message:
                raise
            why = f"it cannot reach the others ({printable(first_line(error))})"
            if "timed out" in message or "timeout" in message:
                why = f"another one was silent for distributed.timeout = {self.timeout:g} s"
            elif "connection" in message:
                why = "another one has ended; it said why, unless it was killed"
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends anyway, and has something to write down first
            raise FrownError(f"process {self.rank} of {self.size} stops: {why}") from error


@contextmanager
def joined(config: RunConfig) -> Iterator[Ranks]:
    """Which process this is among those that a launcher (`accelerate launch`, `torchrun`) started for the same run;
    alone where none did.

    A launcher that ends the process (SIGTERM), because another one failed, makes it raise FrownError.
    """
    size = world_size()
    if size == 1:
        if config.distributed.sharding != "none":
            raise FrownError(
                f"distributed.sharding = {config.distributed.sharding!r} needs several processes: start it with "
                "`accelerate launch --num_processes N -m frown train ...`, or leave the setting out"
            )
        yield ALONE
        return
    if config.sampling.vllm is not None and config.sampling.vllm.mode == "colocate":
        raise FrownError(
            'sampling.vllm.mode = "colocate" goes with one process; start a server (docs/scaling.md), or leave '
            "sampling.vllm out, and each process samples its own prompts"
        )
    import torch
    import torch.distributed as dist

    rank, local, timeout = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"]), config.distributed.timeout
    backend = "gloo"
    if config.model.device not in ("auto", "cuda", "cpu"):
        raise FrownError(
            f"model.device = {config.model.device!r}: of several processes each has a device of its own; use auto, "
            "cuda or cpu"
        )
    if config.model.device != "cpu" and torch.cuda.is_available():
        if local >= torch.cuda.device_count():
            raise FrownError(
                f"process {local} of this node has no GPU: there are {torch.cuda.device_count()}; start as many "
                "processes, or use model.device=cpu"
            )
        torch.cuda.set_device(local)
        backend = "cpu:gloo,cuda:nccl"
    before = signal.signal(signal.SIGTERM, _end)
    try:
        dist.init_process_group(backend, timeout=_MEETING)
        group = dist.new_group(backend=backend, timeout=timedelta(seconds=timeout))
    except (RuntimeError, ValueError, KeyError) as error:
        raise FrownError(f"process {rank} of {size} cannot reach the others: {first_line(error)}") from error
    ranks = JoinedRanks(rank, size, group, timeout)
    ranks.agree(config.model_dump_json(), "their settings")
    yield ranks
    ranks.total(0.0)  # nobody leaves while another may still need it
    dist.destroy_process_group()
    signal.signal(signal.SIGTERM, before)


def world_size() -> int:
    """Of how many processes a launcher started this one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this process is the one that speaks for all."""
    return int(os.environ.get("RANK", "0")) == 0


def refuse_several(command: str) -> None:
    """Raise FrownError where a launcher started several processes of a command that is made for one."""
    if world_size() > 1:
        raise FrownError(f"`frown {command}` is one process; launch it without accelerate or torchrun")


def _end(*_: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: there is something to write down
    raise _Stopped("stopped by the launcher: another process of this run has ended, or the job was cancelled")
