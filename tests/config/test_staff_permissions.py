"""
What each permission of staff opens, taken in turn, and that none opens more: no superuser, nobody else's account, no
shell, no key.

A model that stands in no line of the table below fails the first test: say there what its permissions open.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.db import transaction
from django.db.models import Model
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.utils import timezone
from django_q.conf import Conf
from django_q.models import Failure, OrmQ, Schedule, Task
from django_q.signing import SignedPackage

from config.own_tasks import TASKS
from config.schedules import ensure_schedules
from organizations import second_factors
from organizations.models import ApiToken, EmailChange, Invitation, Membership, User
from providers.keys.private_endpoints import allow_private_endpoint
from providers.models import ProviderKey
from tests.builders import connect_managed_key
from tests.conftest import give_second_factor, logged_in
from tests.test_urls_and_roles import Tenant, world

__all__ = ["world"]

# What the permissions of a model open beside reading; a permission that is not named opens nothing.
LOOKED_AT: dict[str, set[str]] = {}
OPENS: dict[str, dict[str, set[str]]] = {
    "organizations.User": {
        "change": {"field is_active", "field name", "button change_email", "button send_reset_link"},
        "add": {"adding"},  # with `change` beside it, as Django wants it: e-mail and name, never a password
    },
    "organizations.Organization": {
        "add": {"adding"},
        "change": {"field name", "field recency_window_days", "field slug", "button close"},
    },
    "organizations.Membership": {
        "change": {"field role"},  # never to owner, and superusers alone add; the owners are told
        "delete": {"deleting"},
    },
    "organizations.EmailChange": LOOKED_AT,
    "organizations.Invitation": LOOKED_AT,
    "organizations.ApiToken": {"change": {"action revoke"}},
    "organizations.AuditEvent": LOOKED_AT,
    "organizations.AuditHead": LOOKED_AT,
    "organizations.DoneRequest": LOOKED_AT,
    "organizations.OutgoingMail": LOOKED_AT,
    "organizations.MailServer": LOOKED_AT,
    "account.EmailAddress": LOOKED_AT,  # superusers alone call an address confirmed
    "mfa.Authenticator": {"delete": {"action delete_selected", "deleting"}},
    "django_q.Schedule": {
        "change": {"field minutes", "field next_run", "field runs", "field schedule_type"},
        "delete": {"action delete_selected", "deleting"},  # only of rows that never run
    },
    "django_q.Success": {"change": {"action submit_again"}, "delete": {"action delete_selected", "deleting"}},
    "django_q.Failure": {"change": {"action submit_again"}, "delete": {"action delete_selected", "deleting"}},
    "django_q.OrmQ": {"delete": {"action delete_selected", "deleting"}},
    "billing.CreditAccount": {"change": {"button move_credits"}},
    "billing.CreditHold": LOOKED_AT,
    "billing.CreditLot": LOOKED_AT,
    "billing.HoldAllocation": LOOKED_AT,
    "billing.LedgerEntry": LOOKED_AT,
    "candidates.Briefing": LOOKED_AT,
    "candidates.Candidate": {
        "change": {"field email", "field external_id", "field headline", "field link", "field name"},
        "delete": {"action delete_selected", "deleting"},
    },
    "candidates.CandidateCheck": LOOKED_AT,
    "candidates.Profile": LOOKED_AT,
    "candidates.ProfileSighting": LOOKED_AT,
    "candidates.Requirement": LOOKED_AT,
    "candidates.CandidateWord": LOOKED_AT,
    "candidates.RequirementVerdict": LOOKED_AT,
    "candidates.Trial": LOOKED_AT,
    "candidates.TrialCheck": LOOKED_AT,
    "providers.AvailableModel": LOOKED_AT,
    "routing.ModelNotice": LOOKED_AT,
    "providers.KeyValidation": LOOKED_AT,
    "providers.ModelQuirk": LOOKED_AT,
    "providers.OrganizationKey": LOOKED_AT,
    "providers.PrivateEndpoint": {"add": {"adding"}, "delete": {"action delete_selected", "deleting"}},
    "providers.ProviderKey": {
        "change": {"action validate", "button replace_managed_key", "button validate_this"},
        "delete": {"deleting"},  # of managed keys alone
    },
    "routing.ManagedDefault": {"change": {"field model", "field provider"}},
    "routing.RoutingRule": LOOKED_AT,
    "routing.Agent": {
        "change": {
            "field managed_calls_a_day",
            "field managed_model",
            "field managed_provider",
            "field usd_a_day",
        }
    },
    "routing.CallAccess": LOOKED_AT,
    "routing.CallableAgent": LOOKED_AT,
    "routing.DirectKey": LOOKED_AT,
    "usage.Anomaly": LOOKED_AT,
    "usage.AnomalyWebhook": LOOKED_AT,
    "usage.InFlightCall": LOOKED_AT,
    "usage.RollupState": LOOKED_AT,
    "usage.SavedView": LOOKED_AT,
    "usage.SealedMonth": LOOKED_AT,
    "usage.UsageByLabel": LOOKED_AT,
    "usage.UsageDaily": LOOKED_AT,
    "usage.UsageEvent": LOOKED_AT,
    "usage.UsageHourly": LOOKED_AT,
    "usage.UsageRun": LOOKED_AT,
}
PARTS = ("add", "change", "delete", "view")
REGISTERED = sorted(admin.site._registry, key=lambda model: model._meta.label)
SEED = "JBSWY3DPEHPK3PXPSEED"


@pytest.fixture
def trainee(db) -> User:
    user = User.objects.create_user("trainee@keyfare.example", "correct horse battery", is_staff=True)
    give_second_factor(user)
    return user


@pytest.fixture
def installation(world, trainee, staff, alice, monkeypatch) -> Tenant:
    """Something in every table that staff see; tasks wait, as nobody runs them."""
    monkeypatch.setattr(Conf, "SYNC", False)
    connect_managed_key()
    allow_private_endpoint(
        organization=world.organization, host="models.acme.example", port=8443, network="10.0.0.0/24", actor=None
    )
    ensure_schedules()
    Schedule.objects.create(name="foreign", func="os.system", args="'true'")
    for person in User.objects.all():
        EmailAddress.objects.get_or_create(user=person, email=person.email, primary=True, verified=person != alice)
    for person in (alice, staff):
        Authenticator.objects.create(user=person, type="totp", data={"secret": second_factors.seal(SEED)})
    now = timezone.now()
    for number, func in enumerate(["os.system", "config.schedules.run"] * 2):
        Task.objects.create(
            id=f"{number:032}", name=func, func=func, args=("true",), started=now, stopped=now, success=number > 1
        )
    task = {"id": "9" * 32, "name": "x", "func": "config.schedules.run", "args": ("resume_work",), "kwargs": {}}
    OrmQ.objects.create(key="keyfare", payload=SignedPackage.dumps(task), lock=now)
    EmailChange.objects.create(
        user=alice, old_email=alice.email, new_email="a@new.example", requested_by=staff, expires_at=now
    )
    return world


def having(trainee: User, permissions: list[Permission]) -> User:
    trainee.user_permissions.set(permissions)
    return User.objects.get(pk=trainee.pk)


def permissions_of(model: type[Model], *parts: str) -> list[Permission]:
    options = model._meta
    names = [f"{part}_{options.model_name}" for part in parts]
    return list(Permission.objects.filter(content_type__app_label=options.app_label, codename__in=names))


def request_of(user: User) -> HttpRequest:
    request = RequestFactory().get("/admin/")
    request.user = user
    return request


def opened(model: type[Model], user: User) -> set[str]:
    """What the admin of `model` lets `user` do with rows that exist."""
    model_admin: Any = admin.site.get_model_admin(model)
    request = request_of(user)
    found = {f"action {name}" for name in model_admin.get_actions(request)}
    if model_admin.has_add_permission(request):
        found.add("adding")
    for row in model_admin.get_queryset(request):
        if model_admin.has_delete_permission(request, row):
            found.add("deleting")
        if model_admin.has_change_permission(request, row):
            fixed = set(model_admin.get_readonly_fields(request, row))
            shown = {name for _, each in model_admin.get_fieldsets(request, row) for name in each["fields"]}
            found |= {f"field {name}" for name in shown - fixed}
        buttons = model_admin.get_actions_detail(request, str(row.pk))
        found |= {f"button {each.action_name.rpartition(str(model._meta.model_name) + '_')[2]}" for each in buttons}
    return found


def test_every_model_of_the_admin_says_what_its_permissions_open():
    assert {model._meta.label for model in REGISTERED} == set(OPENS)


def test_each_permission_alone_opens_what_is_declared(installation, trainee):
    found: dict[str, dict[str, set[str]]] = {}
    for model in REGISTERED:
        parts = {part: opened(model, having(trainee, permissions_of(model, part))) for part in PARTS}
        found[model._meta.label] = {part: opens for part, opens in parts.items() if opens}

    assert found == OPENS


def test_permissions_of_models_outside_the_admin_open_nothing(installation, trainee):
    """Groups, permissions, sessions, content types, log entries: nobody looks at them, so nobody changes them."""
    outside = [model for model in apps.get_models() if model not in admin.site._registry]
    user = having(trainee, [each for model in outside for each in permissions_of(model, *PARTS)])
    client = logged_in(user)

    assert len(outside) > 5
    for model in REGISTERED:
        assert opened(model, user) == set(), model
    for model in outside:
        for part in ("", "add/", "1/change/", "1/delete/"):
            address = f"/admin/{model._meta.app_label}/{model._meta.model_name}/{part}"
            assert client.post(address, {}).status_code in (302, 403, 404), address


# Tried -----------------------------------------------------------------------------------------------------


def keys_of_customers() -> set[tuple[Any, ...]]:
    keys = ProviderKey.objects.filter(organization__is_platform=False)
    return set(keys.values_list("pk", "base_url", "ciphertext"))


def taken_over(actor: User, known_keys: set[tuple[Any, ...]]) -> dict[str, Any]:
    """What no permission may move: rights, addresses, passwords, factors of the privileged, what runs, keys."""
    people = User.objects.order_by("pk").prefetch_related("user_permissions")
    return {
        "people": [
            (each.pk, each.email, each.password, each.is_superuser, each.is_staff, *each.user_permissions.all())
            for each in people
        ],
        "superusers": list(User.objects.filter(is_superuser=True, is_active=True).values_list("pk", flat=True)),
        "addresses": list(
            EmailAddress.objects.order_by("pk").values_list("pk", "user", "email", "verified", "primary")
        ),
        "factors": list(
            Authenticator.objects.filter(user__is_superuser=True).order_by("pk").values_list("pk", "user", "type")
        ),
        "functions": list(
            Schedule.objects.exclude(name="foreign").order_by("pk").values_list("name", "func", "args", "hook")
        ),
        "queued": {SignedPackage.loads(row.payload)["func"] for row in OrmQ.objects.all()} - TASKS,
        "places": list(Membership.objects.filter(user=actor, organization__slug__in=["acme", "globex"])),
        "changed keys": {key for key in keys_of_customers() if key not in known_keys},
    }


def without_new_people(state: dict[str, Any], known: set[int]) -> dict[str, Any]:
    """New accounts are nobody's yet, if nobody knows their password and they have no rights."""
    for pk, _, password, is_superuser, is_staff, *rights in state["people"]:
        if pk not in known:
            assert password.startswith("!")
            assert not any([is_superuser, is_staff, *rights])
    kept = {
        "people": [each for each in state["people"] if each[0] in known],
        "addresses": [each for each in state["addresses"] if each[1] in known],
    }
    assert not [each for each in state["addresses"] if each[1] not in known and each[3]], "confirmed by nobody"
    return {**state, **kept}


def malice(actor: User, victim: User, installation: Tenant) -> Iterator[dict[str, Any]]:
    everything = list(Permission.objects.values_list("pk", flat=True))
    for user in (actor, victim):
        yield {
            "email": "attacker@evil.example",
            "new_email": "attacker@evil.example",
            "name": "x",
            "slug": "x",
            "password": "pbkdf2$1$x",
            "password1": "evil horse battery",
            "password2": "evil horse battery",
            "usable_password": "true",
            "is_active": "on",
            "is_staff": "on",
            "is_superuser": "on",
            "user_permissions": everything,
            "groups": [],
            "user": user.pk,
            "organization": installation.organization.pk,
            "role": "owner",
            "verified": "on",
            "primary": "on",
            "type": "totp",
            "data": "{}",
            "runs": "on",
            "func": "os.system",
            "args": "'true'",
            "kwargs": "",
            "hook": "os.system",
            "key": "keyfare",
            "payload": "x",
            "schedule_type": "I",
            "minutes": "5",
            "repeats": "1",
            "next_run_0": f"{timezone.now():%Y-%m-%d}",
            "next_run_1": "23:59:59",
            "owner_email": actor.email,
            "base_url": "https://evil.example/v1",
            "recency_window_days": "30",
            "memberships-TOTAL_FORMS": "0",
            "memberships-INITIAL_FORMS": "0",
            "_form_submitted": "on",
            "post": "yes",
        }


def posts(model: type[Model], rows: list[Model], payload: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    model_admin: Any = admin.site.get_model_admin(model)
    start = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
    yield start + "add/", payload
    names = {each[2] for each in model_admin._get_base_actions()} | {"delete_selected", "make_verified"}
    for name in names | {getattr(each, "__name__", str(each)) for each in model_admin.actions or ()}:
        yield start, {"action": name, "_selected_action": [row.pk for row in rows], "post": "yes"}
    for row in rows:
        yield f"{start}{row.pk}/password/", payload
        for pattern in model_admin.get_urls():
            if list(pattern.pattern.converters) == ["object_id"]:
                yield f"{start}{str(pattern.pattern).replace('<path:object_id>', str(row.pk))}", payload


def attack(client: Client, address: str, data: dict[str, Any]) -> None:
    response = client.post(address, data)
    assert response.status_code < 500, address


def assert_nothing_is_taken_over(user: User, models: list[type[Model]], victims: list[User], place: Tenant) -> None:
    client = logged_in(user)
    keys = keys_of_customers()
    before, known = taken_over(user, keys), set(User.objects.values_list("pk", flat=True))
    for payload in malice(user, victims[0], place):
        for model in models:
            rows = list(model._default_manager.order_by("pk"))[: 4 if OPENS[model._meta.label] else 1]
            if model is User:
                rows = [*victims, user]
            elif any(field.name == "user" for field in model._meta.fields):
                rows = [*model._default_manager.filter(user__in=victims), *rows][:4]
            for address, data in posts(model, rows, payload):
                with transaction.atomic():
                    response = client.post(address, data)
                    assert response.status_code < 500, address
                    if response.status_code not in (403, 404):
                        assert without_new_people(taken_over(user, keys), known) == before, (
                            address,
                            data.get("action"),
                        )
                    transaction.set_rollback(True)


@pytest.mark.parametrize("app", sorted({model._meta.app_label for model in REGISTERED}))
def test_no_permission_takes_over_an_account_a_worker_or_a_key(installation, trainee, staff, alice, app):
    for model in REGISTERED:
        if model._meta.app_label == app:
            user = having(trainee, permissions_of(model, *PARTS))
            assert_nothing_is_taken_over(user, [model], [staff, alice], installation)


def test_everything_but_superuser_makes_no_superuser(installation, trainee, staff, alice):
    user = having(trainee, list(Permission.objects.all()))
    models = [User, EmailAddress, Authenticator, Membership, Schedule, Failure, OrmQ]

    assert_nothing_is_taken_over(user, models, [staff, alice], installation)


# Read ------------------------------------------------------------------------------------------------------


def test_who_may_only_look_sees_no_secret(installation, trainee):
    """Not even what is stored of one."""
    people = User.objects.exclude(password__startswith="!")
    secrets = {
        *(part for each in people for part in each.password.split("$")[-2:]),
        *Invitation.objects.values_list("token_digest", flat=True),
        *ApiToken.objects.values_list("digest", flat=True),
        *(str(each.data["secret"]) for each in Authenticator.objects.all()),
        *(row.payload for row in OrmQ.objects.all()),
        SEED,
    }
    shown = []
    for model in REGISTERED:
        client = logged_in(having(trainee, permissions_of(model, "view")))
        start = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        rows = list(model._default_manager.order_by("pk"))[:3]
        for page in [start, *(f"{start}{row.pk}/change/" for row in rows)]:
            text = client.get(page).content.decode()
            shown += [page for each in secrets if len(each) > 8 and each in text]
    assert shown == []


HIDDEN = {
    "mfa.Authenticator": "data",
    "organizations.ApiToken": "digest",
    "organizations.Invitation": "token_digest",
    "organizations.OutgoingMail": "sealed",
    "organizations.User": "password",
    "providers.OrganizationKey": "wrapped",
    "providers.ProviderKey": "ciphertext",
}


def test_no_list_is_narrowed_by_what_it_does_not_show(installation, trainee):
    """`?digest__startswith=a` would say letter by letter what is stored."""
    answers = {}
    for label, field in HIDDEN.items():
        model = apps.get_model(label)
        client = logged_in(having(trainee, permissions_of(model, "view")))
        start = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        answers[label] = [client.get(start, {f"{field}{how}": "a"}).status_code for how in ("__startswith", "__gt", "")]

    assert answers == {label: [400] * 3 for label in HIDDEN}
