"""One torch thread: two on a busy two-core machine were thirty times slower."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


def pytest_configure(config):
    from hypothesis import settings

    settings.register_profile("frown", deadline=None)  # the first example pays for imports and compilation
    settings.load_profile("frown")
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(1)


pytest_plugins = ["browser"]  # its fixtures once for all files: there is room for one Playwright at a time
