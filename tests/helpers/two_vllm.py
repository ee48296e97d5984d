"""frown's command line in as many processes as this is launched with; weights go to `vllm_server` over HTTP, not NCCL.

python -m torch.distributed.run --standalone --nproc_per_node 2 tests/helpers/two_vllm.py train ...

Or with accelerate launch.
"""

import base64
import os
import sys

from safetensors.torch import save
from trl.generation import vllm_client, vllm_generation

from frown.cli.app import main


class Engine:
    """Instead of vLLM's: one request a tensor, so that they come in order."""

    @staticmethod
    def trainer_send_weights(iterator, trainer_args):
        client = trainer_args["group"]
        for name, tensor in iterator:
            data = base64.b64encode(save({name: tensor.detach().contiguous()})).decode()
            client._post(f"{client.base_url}/wire", json={"tensors": data})


def init(client, device):
    """In the first process alone."""
    assert os.environ.get("RANK", "0") == "0"
    client.get_server_info()
    client.communicator = client


if __name__ == "__main__":
    for module in (vllm_client, vllm_generation):
        module.is_vllm_available = lambda min_version=None: True
    vllm_client.VLLMClient.init_communicator = init
    vllm_client.NCCLWeightTransferEngine = Engine
    vllm_client.NCCLTrainerSendWeightsArgs = dict
    main(sys.argv[1:])
