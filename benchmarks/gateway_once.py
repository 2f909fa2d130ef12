"""Two agents and a token that may call both, as any organization has them; writes the token to the file it is given."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

import django

django.setup()

from django.utils import timezone  # noqa: E402  # apps come after setup

from config.onboarding import open_organization  # noqa: E402
from organizations.models import Organization, User  # noqa: E402
from organizations.permissions import Permission  # noqa: E402
from organizations.tenancy import EVERY, scope  # noqa: E402
from providers.adapters.secret import Secret  # noqa: E402
from providers.keys.saving import save_provider_key  # noqa: E402
from providers.keys.validation import validate_key  # noqa: E402
from providers.models import ProviderKey  # noqa: E402
from routing.agents import open_agent  # noqa: E402
from routing.call_access import MOST_AT_ONCE, Access, make_calling_token  # noqa: E402
from routing.models import Agent  # noqa: E402

# Where the provider of `benchmarks.gateway_load` answers at once, and where after 50 ms.
AT_ONCE, SLOW = "at-once", "slow"
ROUTES = {
    AT_ONCE: ("openai", "sk-proj-simulated-valid-benchmark", "gpt-4.1-mini"),
    SLOW: ("mistral", "simulatedvalidbenchmark" + "0" * 9, "mistral-small-latest"),
}


def agent(organization: Organization, owner: User, slug: str) -> Agent:
    provider, secret, model = ROUTES[slug]
    now = timezone.now()
    key = save_provider_key(
        organization=organization, provider=provider, secret=Secret(secret), actor=owner, now=now, label=provider
    )
    validation = key.validations.create(organization=organization, secret_version=1, requested_at=now)
    validate_key(validation_id=validation.pk, now=now)
    made, _ = open_agent(
        organization=organization,
        name=slug,
        slug=slug,
        key=ProviderKey.objects.get(pk=key.pk),
        model=model,
        with_token=False,
        token_expires_at=None,
        actor=owner,
    )
    return made


@scope(EVERY, "an installation for a benchmark")
def main() -> None:
    owner = User.objects.create_user("benchmark@keyfare.example")
    organization = open_organization(name="Benchmark", slug="benchmark", owner=owner)
    made = make_calling_token(
        organization=organization,
        name="Benchmark",
        scopes=[Permission.CALL_AGENTS],
        expires_at=None,
        access=Access(
            member=owner, agents=[agent(organization, owner, slug) for slug in ROUTES], calls_at_once=MOST_AT_ONCE
        ),
        actor=owner,
    )
    Path(sys.argv[1]).write_text(made.value)


if __name__ == "__main__":
    main()
