"""What somebody named cannot speak in a mail of this installation: no line of its own, no header, nothing to click."""

from __future__ import annotations

import re
from datetime import timedelta
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from allauth.account import app_settings
from django.conf import settings
from django.core import mail
from django.template.loader import render_to_string
from django.urls import reverse

from organizations.invitations import invite_member, mail_invitation
from organizations.models import Organization, User
from organizations.templatetags.mail_text import LONGEST, name, no_link, one_line
from providers.keys.notices import remind_key_rotation, tell_key_broke
from providers.models import ProviderKey
from tests.builders import NOW, connect_key

BREAKS = ["\n", "\r\n", "\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"]
SPOOF = "Your account is locked: https://evil.example/unlock"
HOSTILE = [f"Acme{line_break}{line_break}{SPOOF}" for line_break in BREAKS] + [
    "Acme\nBcc: victim@elsewhere.example",
    "Acme\u202e moc.elpmaxe",
    "www.evil.example",
    "evil.example/path",
    "write to victim@evil.example",
    "A" * 100 + " call us",
]
# What may stand in a mail as it is: made by us, not named by anybody.
OURS = re.compile(
    r"\w*url|\w+_url|site|site_url|days|age|code|provider(\.name)?|provider\.key_page_url|"
    r'timestamp\|date:"[-\w:]+"|'
    r"invitation\.get_role_display\|lower|key\.state\.label"
)
TEMPLATES = sorted(path for path in Path(settings.BASE_DIR, "templates").rglob("email/*.txt"))


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: f"{path.parts[-3]}/{path.name}")
def test_every_value_in_a_mail_is_ours_or_kept_in_its_line(template):
    for value in re.findall(r"{{\s*(.*?)\s*}}", template.read_text()):
        assert OURS.fullmatch(value) or re.search(r"\|(name|no_link|one_line)$", value), value


def test_every_mail_that_this_product_can_send_has_a_template_of_ours():
    """Those of allauth print names and hosts as they come."""
    for what in ("password_reset_key", "email_confirmation", "unknown_account", "account_already_exists"):
        source = render_to_string(f"account/email/{what}_message.txt", {"email": "a@b.example"})
        assert "Keyfare" in source
        assert f"account/email/{what}_message.txt" in {"/".join(path.parts[-3:]) for path in TEMPLATES}
    assert not app_settings.LOGIN_BY_CODE_ENABLED
    assert not app_settings.PASSWORD_RESET_BY_CODE_ENABLED


@pytest.mark.parametrize("what", ["password_changed", "email_changed", "email_deleted"])
def test_what_changed_in_an_account_is_told_without_the_words_of_a_browser(what):
    given = {"ip": "192.0.2.7", "user_agent": SPOOF, "timestamp": NOW, "from_email": "a@b.example"}
    said = render_to_string(f"account/email/{what}_message.txt", given)
    assert f"on {NOW:%Y-%m-%d} at {NOW:%H:%M} UTC" in said
    assert "192.0.2.7" not in said
    assert SPOOF not in said


def check() -> None:
    for message in mail.outbox:
        sent = message_from_bytes(message.message().as_bytes(), policy=policy.default)
        body = sent.get_content()
        assert sent["Bcc"] is None
        assert message.recipients() in [["alice@acme.example"], ["dora@acme.example"], ["ada@acme.example"]]
        for line in body.splitlines():
            assert not line.startswith(("Your account", "Bcc:"))
            assert len(line) < 600
        for text in (body, str(sent["Subject"])):
            assert "evil.example" not in text
            assert "\u202e" not in text
            assert set(re.findall(r"\w+://[^/\s]+", text)) <= {"http://localhost:8000", "https://openrouter.ai"}


@pytest.mark.usefixtures("alice")
@pytest.mark.parametrize("hostile", HOSTILE)
def test_names_of_organizations_people_and_keys_stay_in_their_sentence(acme, alice, hostile):
    Organization.objects.filter(pk=acme.pk).update(name=hostile[:120])
    User.objects.filter(pk=alice.pk).update(name=hostile[:150])
    acme.refresh_from_db()
    alice.refresh_from_db()
    key = connect_key(acme)
    ProviderKey.objects.filter(pk=key.pk).update(
        label=hostile[:60], status="invalid", status_detail=hostile, break_notice="due"
    )

    mail_invitation(invite_member(organization=acme, email="dora@acme.example", role="member", actor=alice, now=NOW))
    tell_key_broke(key_id=key.pk)
    ProviderKey.objects.filter(pk=key.pk).update(created_at=NOW - timedelta(days=400))
    remind_key_rotation(now=NOW)

    assert len(mail.outbox) == 3
    check()


def test_a_mail_has_as_many_lines_whatever_things_are_called(acme, alice):
    def lines_with(named: str) -> int:
        Organization.objects.filter(pk=acme.pk).update(name=named)
        User.objects.filter(pk=alice.pk).update(name=named)
        acme.refresh_from_db()
        alice.refresh_from_db()
        mail_invitation(
            invite_member(
                organization=acme, email=f"dora{len(mail.outbox)}@acme.example", role="member", actor=alice, now=NOW
            )
        )
        return len(mail.outbox[-1].body.splitlines())

    assert len({lines_with(named) for named in ["Acme", *(each[:120] for each in HOSTILE)]}) == 1


def test_a_name_posted_by_form_is_no_exception(as_alice, alice, acme, mailoutbox):
    User.objects.filter(pk=alice.pk).update(name=HOSTILE[0])

    as_alice.post(reverse("organizations:invite", args=["acme"]), {"email": "dora@acme.example", "role": "member"})

    assert len(mailoutbox) == 1
    check()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Acme GmbH", "Acme GmbH"),
        ("Müller & Söhne, Inc.", "Müller & Söhne, Inc."),
        ("v3.5 prod", "v3.5 prod"),
        ("山田商事", "山田商事"),
        ("Booking.com", "Booking[.]com"),
        ("https://evil.example/x", "https[:]//evil[.]example/x"),
        ("evil。example", "evil[.]example"),
        ("evil․example", "evil[.]example"),
        ("☃.net i❤.example", "☃[.]net i❤[.]example"),
        ("Wait...what, .NET (R. and D.)", "Wait...what, .NET (R. and D.)"),
        ("a@b.example", "a[at]b[.]example"),
        ("  two\n\nlines ", "two lines"),
        ("", ""),
    ],
)
def test_names_stay_readable(text, shown):
    assert name(text) == shown
    assert no_link(text) == shown


def test_a_long_name_is_cut_and_one_line_keeps_addresses():
    assert len(name("x" * 500)) == LONGEST
    assert one_line("a@b.example\x0bc") == "a@b.example c"
