"""A program that uses the JSON API, and what its tests start from."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from candidates.models import Briefing, Candidate
from organizations.api_tokens import make_token
from organizations.models import Organization, User
from organizations.permissions import API_SCOPES
from tests.builders import connect_managed_key, give_credits, import_people, write_briefing

URL = "/api/v1/candidate-check"
RESUME = {
    "basics": {"name": "Maya Lind", "email": "maya@people.example", "summary": "Builds Django services."},
    "skills": [{"name": "Django"}],
}


def token(organization: Organization, person: User) -> str:
    scopes = list(API_SCOPES)
    return make_token(organization=organization, name="robot", scopes=scopes, expires_at=None, actor=person).value


class Program:
    """A client that holds a token and nothing else."""

    def __init__(self, value: str) -> None:
        self.client = Client()
        self.headers = {"Authorization": f"Bearer {value}"}

    def ask(self, body: Any, **headers: str) -> Any:
        data = body if isinstance(body, str | bytes) else json.dumps(body)
        return self.client.post(URL, data, content_type="application/json", headers={**self.headers, **headers})

    def read(self, check_id: object) -> Any:
        return self.client.get(f"{URL}/{check_id}", headers=self.headers)


@pytest.fixture
def briefing(acme, simulated_providers) -> Briefing:
    connect_managed_key()
    give_credits(acme, 100)
    return write_briefing(acme, ("Django", "must"), ("Kubernetes", "nice"), title="Django Developer")


@pytest.fixture
def maya(acme) -> Candidate:
    (person,) = import_people(acme, "Builds Django services.")
    return person


@pytest.fixture
def program(acme, alice, briefing) -> Program:
    return Program(token(acme, alice))


@pytest.fixture
def waiting(monkeypatch) -> None:
    """Checks stay open, as they do until a worker takes them."""
    monkeypatch.setattr("candidates.acceptance.queue_checks", lambda: None)
