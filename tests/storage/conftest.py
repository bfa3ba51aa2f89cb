"""A promise of the contract that is broken shows what was expected and what came."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("collector.testing")
