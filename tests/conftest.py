"""What all tests share: one torch thread, and a marker for the lane that a test lies in."""

import os
import signal
from pathlib import Path

import pytest

# Two threads on a busy two-core machine were thirty times slower than one.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

pytest_plugins = ["browser"]  # its fixtures once for all files: there is room for one Playwright at a time

TESTS = Path(__file__).parent


def pytest_configure(config):
    from hypothesis import HealthCheck, settings

    # The first example pays for imports and compilation, and drawing examples is slow where the machine is.
    examples = 25 if "not slow" in config.option.markexpr else 100
    settings.register_profile(
        "frown", max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("frown")
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        # A shell has what it starts in the background ignore Ctrl-C, and so would all processes that tests start.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(1)


def pytest_ignore_collect(collection_path, config):
    """Under `-m "... not slow"`, files that are slow as a whole are not even imported."""
    if "not slow" in config.option.markexpr and collection_path.suffix == ".py":
        return "\npytestmark = pytest.mark.slow\n" in collection_path.read_text(encoding="utf-8") or None
    return None


def pytest_collection_modifyitems(items):
    """Mark each test with its lane, which is the folder it lies in."""
    for item in items:
        item.add_marker(getattr(pytest.mark, item.path.relative_to(TESTS).parts[0]))


@pytest.fixture(autouse=True, scope="session")
def one_pool_of_graders():
    """All graders of mathematics in this process share their workers, which take seconds to start."""
    from functools import cache

    from frown.tasks import workers
    from frown.tasks.grading import math

    @cache
    def pool(*arguments, **options):
        pool = workers.WorkerPool(*arguments, **options)
        pool.close = lambda: None  # they end with this process
        return pool

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(math, "WorkerPool", pool)
        yield
