"""Settings of the whole suite."""

from __future__ import annotations

import os

from hypothesis import settings

# Examples take as long as the machine needs: a busy one is no fault of the code. The gate draws the same examples
# each time, so that a failure there can be had again.
settings.register_profile("suite", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("suite")
