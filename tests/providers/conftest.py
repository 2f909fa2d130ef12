from __future__ import annotations

from tests.simulator_fixtures import simulated_providers, simulator

__all__ = ["simulated_providers", "simulator"]
