"""Runs in two processes, one after another: FOLDER/runs.json holds the name and the settings of each, which is in
FOLDER/NAME. One that is there already goes on.

python -m torch.distributed.run --standalone --nproc_per_node 2 tests/helpers/two_runs.py FOLDER
"""

import json
import sys
from contextlib import nullcontext
from pathlib import Path

from frown.config import RunConfig, load
from frown.runtime.processes import joined
from frown.training import run

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    runs = {n: load(RunConfig, None, s) for n, s in json.loads((folder / "runs.json").read_text()).items()}
    with joined(next(iter(runs.values()))) as ranks:
        run.joined = lambda config: nullcontext(ranks)  # processes meet once, which takes longer than these runs
        for name, config in runs.items():
            run.train(config, folder / name, resume=True)
