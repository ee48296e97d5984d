"""Work whose memory is known, in a file that a fresh process imports in a moment."""


def touch_64_mib() -> None:
    pages = bytearray(64 << 20)
    pages[:: 1 << 12] = b"x" * len(pages[:: 1 << 12])
