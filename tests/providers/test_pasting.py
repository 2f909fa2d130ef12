"""What comes along unseen when a key is copied off a page does not stand in its owner's way."""

from __future__ import annotations

import pytest

from providers.custody import sealing
from providers.models import ProviderKey

KEY = "sk-or-v1-simulated-valid-c4n4ry7"
SAVE = "/o/acme/settings/keys/openrouter/save/"


@pytest.mark.parametrize("unseen", [" ", "\n", "\u200b", "\ufeff", "\u00a0\u2060", "\u200d \t"])
def test_what_cannot_be_seen_around_a_pasted_key_is_left_out(as_alice, acme, unseen):
    as_alice.post(SAVE, {"key": f"{unseen}{KEY}{unseen}"})

    assert sealing.sealed_key(ProviderKey.objects.get()).open().reveal() == KEY


@pytest.mark.parametrize("provider", ["openrouter", "openai", "anthropic", "google", "mistral"])
def test_a_paste_of_nothing_that_can_be_seen_asks_for_the_key(as_alice, acme, provider):
    answer = as_alice.post(SAVE.replace("openrouter", provider), {"key": "\u200b\ufeff"})

    assert answer.status_code == 422
    assert "Paste the key here" in answer.content.decode()
    assert not ProviderKey.objects.exists()
