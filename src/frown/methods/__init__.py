"""How a policy learns from its answers: a method is a file. `BUILTIN` lists frown's own."""

from frown.methods.aimed import Aimed
from frown.methods.critique import Critique
from frown.methods.grpo import GRPO
from frown.methods.opsa import OPSA
from frown.methods.opsd import OPSD
from frown.methods.rft import RFT
from frown.methods.sdpo import SDPO
from frown.methods.sft import SFT

BUILTIN = {
    "sft": SFT,
    "rft": RFT,
    "grpo": GRPO,
    "opsa": OPSA,
    "sdpo": SDPO,
    "opsd": OPSD,
    "critique": Critique,
    "aimed": Aimed,
}

__all__ = ["BUILTIN", "GRPO", "OPSA", "OPSD", "RFT", "SDPO", "SFT", "Aimed", "Critique"]
