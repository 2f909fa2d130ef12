from __future__ import annotations

import pytest

from config.onboarding import ensure_platform
from providers.models import ProviderKey
from routing.models import RoutingRule
from routing.services import save_routing
from tests.builders import connect_key

MODEL = "openai/gpt-4.1-mini"


@pytest.fixture
def key(acme, simulated_providers) -> ProviderKey:
    ensure_platform()
    return connect_key(acme)


@pytest.fixture
def routed(acme, key) -> RoutingRule:
    return save_routing(organization=acme, action="candidate_check", key=key, model=MODEL, actor=None)
