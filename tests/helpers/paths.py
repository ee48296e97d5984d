"""Where things lie, for tests that read files of the project or the data beside it."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HELPERS = Path(__file__).resolve().parent
SHARED = ROOT.parent / "shared"
