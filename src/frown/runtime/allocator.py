"""What glibc's allocator has to be told once."""

from __future__ import annotations


def keep_freed_memory() -> None:
    """Let freed memory be used again instead of giving it back to the system and taking it zeroed, page by page.

    One large allocation raises glibc's threshold for doing so (to 32 MiB, its most). The loss of tiny models became
    three times faster, the arithmetic of a head pass over 152,000 words a third.
    """
    import torch

    torch.empty(31 << 20, dtype=torch.uint8)
