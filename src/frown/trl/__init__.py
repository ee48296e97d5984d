"""frown inside TRL: `FrownSDPOTrainer`, TRL's `SDPOTrainer` with feedback per rollout and the loss in one pass.

Importing it needs TRL 1.16 and raises `FrownError` where that is absent or another version. How-to: `docs/trl.md`.
"""

from frown.trl.pin import check_installed

check_installed()

from frown.trl.rows import rows_of  # noqa: E402
from frown.trl.trainer import FrownSDPOTrainer  # noqa: E402

__all__ = ["FrownSDPOTrainer", "rows_of"]
