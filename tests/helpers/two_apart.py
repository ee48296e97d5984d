"""`frown train` in processes that share no folder: each works in FOLDER/RANK and leaves its id in FOLDER/RANK.pid.

python -m torch.distributed.run --standalone --nproc_per_node 2 tests/helpers/two_apart.py FOLDER train ...
"""

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    folder, rank = Path(sys.argv[1]), os.environ["RANK"]
    (folder / rank).mkdir(exist_ok=True)
    (folder / f"{rank}.pid").write_text(str(os.getpid()))
    os.chdir(folder / rank)
    from frown.cli.app import main

    main(sys.argv[2:])
