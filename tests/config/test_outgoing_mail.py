"""Mails leave in the background: what a mail server does to them, to pages and to workers, over real sockets."""

from __future__ import annotations

import base64
import logging
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.core import mail
from django.core.mail import BadHeaderError, EmailMessage, EmailMultiAlternatives, mail_admins, send_mail
from django.core.management import call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from organizations.models import MailServer, OutgoingMail, User
from organizations.outbox import at_once, sending
from organizations.outbox.backend import LONGEST_WAIT, expiring, unseal
from organizations.outbox.sending import MOST_ATTEMPTS, Run, rotate_outgoing_mail, send_waiting_mail
from tests import smtp_server
from tests.conftest import logged_in
from tests.smtp_server import SmtpServer

State = OutgoingMail.State
RESET = reverse("account_reset_password")
LINK = "http://localhost:8000/accounts/password/reset/key/1-cq3abc-0123456789abcdef0123456789abcdef/"


@pytest.fixture
def server() -> Iterator[SmtpServer]:
    with smtp_server.running() as server:
        yield server


@pytest.fixture
def outbox(settings, server) -> SmtpServer:
    """As installed: Django's mail functions fill the outbox, which is sent to `server`."""
    settings.EMAIL_BACKEND = "organizations.outbox.backend.OutboxBackend"
    settings.MAIL_TRANSPORT = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_TIMEOUT = "127.0.0.1", server.port, 5
    return server


@pytest.fixture
def committed(django_capture_on_commit_callbacks):
    return partial(django_capture_on_commit_callbacks, execute=True)


def write(address: str = "dora@acme.example", text: str = f"Here: {LINK}") -> OutgoingMail:
    send_mail("A new password", text, None, [address])
    return OutgoingMail.objects.get(recipient=address)


def again(row: OutgoingMail) -> OutgoingMail:
    return OutgoingMail.objects.get(pk=row.pk)


def wait_is_over() -> None:
    """As if the pauses and the times between attempts had passed."""
    past = timezone.now() - timedelta(seconds=1)
    MailServer.objects.update(paused_until=past, held_until=past)
    OutgoingMail.objects.filter(state=State.WAITING).update(next_attempt_at=past)


# Sending --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("db")
def test_a_mail_leaves_as_it_was_written_and_is_erased(outbox):
    message = EmailMultiAlternatives(
        "Grüße", "Text “über” alles", None, ["dora@acme.example"], reply_to=["alice@acme.example"]
    )
    message.attach_alternative("<p>HTML</p>", "text/html")
    message.send()

    assert send_waiting_mail() == Run(sent=1)

    [(receiver, received)] = outbox.mails
    assert receiver == "dora@acme.example"
    assert received["Subject"] == "Grüße"
    assert received["Reply-To"] == "alice@acme.example"
    assert received.get_body(("plain",)).get_content().strip() == "Text “über” alles"
    assert received.get_body(("html",)).get_content().strip() == "<p>HTML</p>"
    row = OutgoingMail.objects.get()
    assert (row.state, row.sealed, row.attempts, row.last_error) == (State.SENT, "", 1, "")
    assert row.finished_at
    assert received["Message-ID"] == row.message_id
    assert send_waiting_mail() == Run()


@pytest.mark.usefixtures("db")
def test_each_recipient_has_a_row_and_one_that_is_refused_takes_nothing_from_the_others(outbox):
    outbox.replies["RCPT bad@acme.example"] = "550 5.1.1 no such user"
    people = ["bad@acme.example", "dora@acme.example"]
    EmailMessage("To all", "Text", None, people, bcc=["secret@acme.example"]).send()

    assert send_waiting_mail() == Run(sent=2, given_up=1)

    assert outbox.receivers == ["dora@acme.example", "secret@acme.example"]
    assert all(received["To"] == ", ".join(people) and received["Bcc"] is None for _, received in outbox.mails)


@pytest.mark.django_db(transaction=True)
def test_it_goes_out_at_once_if_the_transaction_stands_and_only_then(outbox):
    with suppress(RuntimeError), transaction.atomic():
        send_mail("Never", "Text", None, ["never@acme.example"])
        raise RuntimeError
    with transaction.atomic():
        send_mail("Now", "Text", None, ["now@acme.example"])
        assert outbox.mails == []

    assert outbox.receivers == ["now@acme.example"]
    assert OutgoingMail.objects.count() == 1


@pytest.mark.usefixtures("db")
def test_what_cannot_be_a_mail_is_refused_where_it_is_written(outbox):
    with pytest.raises(BadHeaderError):
        send_mail("Two\nlines", "Text", None, ["dora@acme.example"])
    with pytest.raises(ValueError, match="no attachments"):
        EmailMessage("A", "B", None, ["dora@acme.example"], attachments=[("a.txt", "a", "text/plain")]).send()

    assert not OutgoingMail.objects.exists()


# A server that fails --------------------------------------------------------------------------------


def hang(server, settings):
    server.mode, settings.EMAIL_TIMEOUT = "hang", 0.3


def drip(server, settings):
    server.mode, settings.EMAIL_TIMEOUT = "drip", 0.3


def refuse(server, settings):
    server.shutdown()
    server.server_close()


def refuse_login(server, settings):
    settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "keyfare", "the-password"
    server.replies |= {"EHLO": "250-test.example\r\n250 AUTH LOGIN", "AUTH": "535 5.7.8 no the-password here"}


def refuse_connection(server, settings):
    server.replies["CONNECT"] = "554 no service"


def refuse_sender(server, settings):
    server.replies["MAIL"] = "550 5.7.1 sender not allowed"


def stop_service(server, settings):
    server.replies["RCPT"] = "421 4.3.2 shutting down"


def hang_up(server, settings):
    server.replies["DATA"] = "HANG UP"


FAILURES = {
    hang: "did not answer in time",
    drip: "did not answer in time",
    refuse: "Nothing listens",
    refuse_login: "refused the login (535)",
    refuse_connection: "refused (554)",
    refuse_sender: "refused the sender (550): 5.7.1 sender not allowed",
    stop_service: "(421)",
    hang_up: "closed the connection",
}


@pytest.mark.usefixtures("db")
@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.__name__)
def test_a_server_that_fails_is_left_alone_and_every_mail_waits(outbox, settings, failure, caplog):
    failure(outbox, settings)
    rows = [write(f"person{number}@acme.example") for number in range(3)]

    first = send_waiting_mail()
    connections = outbox.connections
    later = [send_waiting_mail() for _ in range(5)]

    assert first == Run(failed=1, waiting=3)
    assert later == [Run(waiting=3)] * 5
    assert outbox.connections == connections <= 1
    assert FAILURES[failure] in again(rows[0]).last_error
    assert [again(row).attempts for row in rows] == [1, 0, 0]
    assert MailServer.objects.get().failing_since
    assert "the-password" not in again(rows[0]).last_error + caplog.text


@pytest.mark.usefixtures("db")
def test_pauses_grow_and_end_when_the_server_is_well_again(outbox):
    outbox.replies["MAIL"] = "451 4.3.0 disk full"
    write()
    pauses = []
    for _ in range(7):
        before = timezone.now()
        send_waiting_mail()
        paused_until = MailServer.objects.get().paused_until
        assert paused_until
        pauses.append(round((paused_until - before).total_seconds() / 60))
        wait_is_over()
    del outbox.replies["MAIL"]

    assert pauses == [1, 2, 4, 8, 16, 16, 16]
    assert send_waiting_mail() == Run(sent=1)
    server = MailServer.objects.get()
    assert (server.failures, server.last_error, server.failing_since) == (0, "", None)


@pytest.mark.usefixtures("db")
def test_one_mail_that_is_put_off_holds_up_no_other_and_is_given_up_after_its_last_attempt(outbox):
    outbox.replies["RCPT full@acme.example"] = "452 4.2.2 mailbox full"
    put_off, other = write("full@acme.example"), write("dora@acme.example")

    assert send_waiting_mail() == Run(sent=1, failed=1, waiting=1)
    assert again(other).state == State.SENT
    assert send_waiting_mail() == Run(waiting=1)
    wait_before = again(put_off).next_attempt_at
    for _ in range(MOST_ATTEMPTS - 1):
        wait_is_over()
        send_waiting_mail()

    row = again(put_off)
    assert wait_before > timezone.now()
    assert (row.state, row.attempts, row.sealed) == (State.GIVEN_UP, MOST_ATTEMPTS, "")
    assert row.last_error == "The mail server refused the recipient (452): 4.2.2 mailbox full"


@pytest.mark.usefixtures("db")
@pytest.mark.parametrize("stage", ["RCPT", "."])
def test_what_is_refused_for_good_is_given_up_at_once_with_the_reason(outbox, stage):
    outbox.replies[stage] = "550 5.1.1 no such user"
    row = write()

    assert send_waiting_mail() == Run(given_up=1)

    assert again(row).state == State.GIVEN_UP
    assert again(row).sealed == ""
    assert "(550): 5.1.1 no such user" in again(row).last_error
    assert not MailServer.objects.filter(failures__gt=0).exists()


@pytest.mark.usefixtures("db")
@pytest.mark.parametrize(
    "goodbye", ["221-" + "x" * 9000, "500 no", "HANG UP", "DRIP"], ids=["long", "500", "gone", "drip"]
)
def test_a_mail_that_was_taken_or_refused_is_that_however_the_server_says_goodbye(outbox, settings, goodbye):
    settings.EMAIL_TIMEOUT = 1
    outbox.replies |= {"QUIT": goodbye, "RCPT gone@acme.example": "550 unknown"}
    taken, refused = write(), write("gone@acme.example")

    send_waiting_mail()

    assert (again(taken).state, again(taken).attempts) == (State.SENT, 1)
    assert (again(refused).state, again(refused).last_error[:42]) == (
        State.GIVEN_UP,
        "The mail server refused the recipient (550",
    )
    assert not MailServer.objects.get().failures
    assert outbox.receivers == [taken.recipient]


@pytest.mark.usefixtures("db")
def test_a_mail_is_not_sent_when_its_link_is_dead(outbox):
    outbox.replies["MAIL"] = "451 4.3.0 disk full"
    EmailMessage(
        "Soon dead", LINK, None, ["dora@acme.example"], headers=expiring(timezone.now() + timedelta(hours=1))
    ).send()
    row = OutgoingMail.objects.get()
    assert timedelta(minutes=59) < row.good_until - timezone.now() <= timedelta(hours=1)
    send_waiting_mail()
    outbox.replies.clear()
    wait_is_over()
    OutgoingMail.objects.update(good_until=timezone.now() - timedelta(seconds=1))

    assert send_waiting_mail() == Run(given_up=1)

    assert outbox.mails == []
    assert (again(row).state, again(row).sealed) == (State.GIVEN_UP, "")
    assert "while its link was good" in again(row).last_error
    assert "disk full" in again(row).last_error


@pytest.mark.usefixtures("db")
@pytest.mark.parametrize("asked", [timedelta(days=30), None])
def test_no_mail_waits_longer_than_three_days(outbox, asked):
    headers = expiring(timezone.now() + asked) if asked else None
    EmailMessage("A", "B", None, ["dora@acme.example"], headers=headers).send()

    assert OutgoingMail.objects.get().good_until - timezone.now() <= LONGEST_WAIT


@pytest.mark.usefixtures("db")
def test_mails_are_forgotten_after_a_while_but_never_while_they_wait(outbox):
    old, waiting = write("old@acme.example"), write("waiting@acme.example")
    long_ago = timezone.now() - timedelta(days=31)
    OutgoingMail.objects.filter(pk=old.pk).update(state=State.SENT, finished_at=long_ago)
    OutgoingMail.objects.update(created_at=long_ago)
    outbox.replies["MAIL"] = "451 later"

    send_waiting_mail()

    assert list(OutgoingMail.objects.all()) == [waiting]


# Once, or at least once -----------------------------------------------------------------------------


@pytest.mark.usefixtures("db")
def test_who_dies_between_sending_and_marking_leaves_a_mail_that_is_sent_again_later_under_the_same_id(
    outbox, monkeypatch
):
    write()

    def die(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sending, "_finish", die)
        with pytest.raises(KeyboardInterrupt):
            send_waiting_mail()
    at_once_again = send_waiting_mail()
    wait_is_over()

    assert at_once_again == Run(waiting=1)
    assert send_waiting_mail() == Run(sent=1)
    assert len(outbox.mails) == 2
    assert len({received["Message-ID"] for _, received in outbox.mails}) == 1


@pytest.mark.usefixtures("db")
def test_while_one_process_sends_another_does_nothing(outbox):
    write()
    holder = sending._take_turn()

    assert send_waiting_mail() == Run(waiting=1)
    assert outbox.connections == 0

    MailServer.objects.update(held_until=timezone.now() - timedelta(seconds=1))  # it died
    assert holder
    assert send_waiting_mail() == Run(sent=1)


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_many_senders_at_once_send_each_mail_once(outbox, monkeypatch):
    if connection.vendor != "postgresql":
        pytest.skip("SQLite lets one transaction write at a time")
    monkeypatch.setattr("organizations.outbox.backend.async_task", lambda *arguments: None)
    people = [f"person{number:02}@acme.example" for number in range(30)]
    for person in people:
        send_mail("A", "B", None, [person])
    together = threading.Barrier(4)

    def send() -> None:
        together.wait()
        while send_waiting_mail().waiting:
            pass
        connection.close()

    senders = [threading.Thread(target=send) for _ in range(4)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()

    assert outbox.receivers == people


@pytest.mark.usefixtures("db")
def test_two_that_chose_the_same_mail_do_not_both_get_it(outbox, monkeypatch):
    """Whose turn ran out while its process stood still goes on beside the next one."""
    row = write()
    due = list(OutgoingMail.objects.all())
    assert sending._claim_next() == row

    monkeypatch.setattr(sending, "_due", lambda: OutgoingMail.objects.filter(pk__in=[each.pk for each in due]))
    stale = OutgoingMail.objects.all()
    monkeypatch.setattr(type(stale), "order_by", lambda self, *fields: due if fields[0] == "next_attempt_at" else self)

    assert sending._claim_next() is None


# Secrets --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("db")
def test_the_database_holds_no_mail_in_clear_and_none_once_it_left(outbox):
    row = write()
    values = " ".join(str(value) for value in OutgoingMail.objects.filter(pk=row.pk).values().get().values())

    assert "cq3abc" not in values
    assert base64.b64encode(b"cq3abc").decode()[:7] not in values
    assert LINK in str(unseal(row).body)


QUOTING = {
    "in clear": LINK,
    "a part of it": LINK.split("/")[-2],
    "as base64": base64.b64encode(LINK.encode()).decode(),
    "a code": "483920",
    "a code in letters": "WXYZ-KLMN",
    "the address": "dora@acme.example",
    "the whole mail": "{mail}",
}


@pytest.mark.usefixtures("db")
@pytest.mark.parametrize("what", QUOTING)
@pytest.mark.parametrize("stage", ["RCPT", "."])
def test_what_a_server_quotes_of_a_mail_is_crossed_out(outbox, what, stage, caplog):
    if stage == "RCPT" and what == "the whole mail":
        pytest.skip("it has not been received then")
    outbox.replies[stage] = f"550 5.7.1 rejected as spam: <{QUOTING[what]}> sorry"
    row = write(text=f"Here: {LINK} or enter 483920 or WXYZ-KLMN")

    send_waiting_mail()

    told = again(row).last_error + caplog.text
    assert "5.7.1" in told
    for secret in (
        "cq3abc",
        "0123456789abcdef",
        "483920",
        "WXYZ",
        "dora@",
        base64.b64encode(LINK.encode()).decode()[8:40],
    ):
        assert secret not in told
    if what != "the whole mail":
        assert "rejected as spam" in told


@pytest.mark.usefixtures("db")
def test_waiting_mails_follow_a_rotation_of_master_keys(outbox, settings):
    old, new = settings.FERNET_KEYS[0], "another-master-key-for-tests-0123456789abcdef"
    write()
    settings.FERNET_KEYS = [new, old]
    rotate_outgoing_mail()
    settings.FERNET_KEYS = [new]

    assert send_waiting_mail() == Run(sent=1)


@pytest.mark.usefixtures("db")
def test_a_mail_that_no_master_key_opens_is_given_up_with_the_reason(outbox, settings):
    row = write()
    settings.FERNET_KEYS = ["another-master-key-for-tests-0123456789abcdef"]

    assert send_waiting_mail() == Run(given_up=1)
    assert "KEYFARE_MASTER_KEYS" in again(row).last_error


# Pages and staff ------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", [hang, refuse], ids=["hangs", "is down"])
def test_no_page_waits_for_a_mail_server(client, alice, as_alice, outbox, settings, failure):
    failure(outbox, settings)
    settings.KEYFARE_SIGNUP_OPEN = True

    reset = client.post(RESET, {"email": alice.email}, follow=True)
    password = {"password1": "a long enough passphrase", "password2": "a long enough passphrase"}
    signed_up = client.post(reverse("account_signup"), {"email": "new@acme.example", **password}, follow=True)
    invited = as_alice.post(
        reverse("organizations:invite", args=["acme"]), {"email": "dora@acme.example", "role": "member"}, follow=True
    )

    assert outbox.connections == 0
    assert [page.status_code for page in (reset, signed_up, invited)] == [200, 200, 200]
    for page in (reset, signed_up, invited):
        assert "may take a minute" in page.content.decode()
        assert not re.search(r"\b(was|we) sent\b", page.content.decode(), re.IGNORECASE)
    recipients = sorted(OutgoingMail.objects.values_list("recipient", flat=True))
    assert recipients == [alice.email, "dora@acme.example", "new@acme.example"]


def test_who_invites_reads_that_the_mail_waits_or_was_not_delivered(as_alice, outbox, committed):
    members = reverse("organizations:members", args=["acme"])
    outbox.replies["RCPT"] = "550 5.1.1 no such user"
    as_alice.post(reverse("organizations:invite", args=["acme"]), {"email": "dora@acme.example", "role": "member"})
    waiting = as_alice.get(members).content.decode()
    send_waiting_mail()
    refused = as_alice.get(members).content.decode()
    outbox.replies.clear()
    again = reverse("organizations:send-invitation-again", args=["acme", alice_invited().pk])
    with committed():
        as_alice.post(again)
    fine = as_alice.get(members).content.decode()

    assert "The mail waits to be sent." in waiting
    assert "Mail not delivered" in refused
    assert "no such user" not in refused
    assert "Mail not delivered" not in fine
    assert "waits to be sent" not in fine
    assert outbox.receivers == ["dora@acme.example"]


def alice_invited():
    from organizations.models import Invitation

    return Invitation.objects.get()


def test_staff_see_where_a_mail_is_and_never_what_it_says(as_staff, outbox):
    outbox.replies["RCPT"] = "452 4.2.2 mailbox full"
    row = write()
    sealed = row.sealed
    send_waiting_mail()

    lists = as_staff.get(reverse("admin:organizations_outgoingmail_changelist")).content.decode()
    detail = as_staff.get(reverse("admin:organizations_outgoingmail_change", args=[row.pk])).content.decode()

    for page in (lists, detail):
        assert "dora@acme.example" in page
        assert "mailbox full" in page
        assert "cq3abc" not in page
        assert sealed[:20] not in page
    assert as_staff.post(reverse("admin:organizations_outgoingmail_change", args=[row.pk]), {}).status_code == 403
    assert as_staff.get(reverse("admin:organizations_outgoingmail_add")).status_code == 403


@pytest.mark.parametrize(
    ("transport", "sentence", "is_bad"),
    [
        ("", "No mail server is configured: set EMAIL_URL.", True),
        ("django.core.mail.backends.console.EmailBackend", "mails are printed by the worker", False),
        ("django.core.mail.backends.smtp.EmailBackend", "The mail server has failed since", True),
    ],
)
def test_the_staff_dashboard_says_why_mails_wait(as_staff, outbox, settings, transport, sentence, is_bad):
    outbox.replies["MAIL"] = "451 4.3.0 disk full"
    write()
    send_waiting_mail()
    settings.MAIL_TRANSPORT = transport

    dashboard = as_staff.get(reverse("admin:index"))

    figure = next(each for each in dashboard.context["figures"] if each["label"] == "Mails waiting")
    assert sentence in dashboard.content.decode()
    assert figure["is_bad"] is is_bad


def test_the_staff_dashboard_shows_no_alarm_for_mail_while_none_waits(as_staff, outbox, settings):
    settings.MAIL_TRANSPORT = ""
    figures = as_staff.get(reverse("admin:index")).context["figures"]
    assert not next(each for each in figures if each["label"] == "Mails waiting")["is_bad"]


def test_without_a_mail_server_mails_wait_for_one_and_pages_say_so(client, alice, as_alice, outbox, settings):
    settings.MAIL_TRANSPORT = ""

    page = client.post(RESET, {"email": alice.email}, follow=True).content.decode()
    said = send_waiting_mail()

    assert said == Run(waiting=1)
    assert "has no mail server yet" in page
    assert "has no mail server yet" in as_alice.get(reverse("organizations:members", args=["acme"])).content.decode()
    settings.MAIL_TRANSPORT = "django.core.mail.backends.smtp.EmailBackend"
    assert send_waiting_mail() == Run(sent=1)
    assert "has no mail server yet" not in client.get(RESET).content.decode()


@pytest.mark.usefixtures("db")
def test_the_command_says_what_it_did_and_can_try_at_once(outbox, capsys):
    outbox.replies["MAIL"] = "451 4.3.0 disk full"
    write()

    call_command("send_mail_queue")
    del outbox.replies["MAIL"]
    call_command("send_mail_queue", "--json")
    call_command("send_mail_queue", "--now")

    assert capsys.readouterr().out.splitlines() == [
        "Mails: 0 sent, 1 failed for now, 0 given up, 1 waiting.",
        '{"sent": 0, "failed": 0, "given_up": 0, "waiting": 1}',
        "Mails: 1 sent, 0 failed for now, 0 given up, 0 waiting.",
    ]


# Who is told what -----------------------------------------------------------------------------------


def test_with_sign_up_closed_a_reset_for_an_unknown_address_sends_nothing_and_does_the_same(
    client, alice, outbox, committed
):
    with committed() as known_callbacks, CaptureQueriesContext(connection) as known_queries:
        known = client.post(RESET, {"email": alice.email}, follow=True)
    with committed() as unknown_callbacks, CaptureQueriesContext(connection) as unknown_queries:
        unknown = client.post(RESET, {"email": "stranger@elsewhere.example"}, follow=True)

    assert outbox.receivers == [alice.email]
    assert "password/reset/key" in outbox.mails[0][1].get_content()
    assert unknown.content == known.content
    assert len(known_callbacks) == len(unknown_callbacks) == 1
    for queries in (known_queries, unknown_queries):
        assert [query["sql"].split()[0] for query in queries if "organizations_outgoingmail" in query["sql"]] == [
            "INSERT"
        ]
    row = OutgoingMail.objects.get(recipient="stranger@elsewhere.example")
    assert (row.state, row.sealed) == (State.GIVEN_UP, "")
    assert row.last_error == "No account has this address, and sign-up is closed."


def test_an_invited_person_cannot_have_strangers_invited_to_sign_up(as_alice, client, outbox, committed):
    with committed():
        as_alice.post(reverse("organizations:invite", args=["acme"]), {"email": "dora@acme.example", "role": "member"})
    link = re.search(r"http://localhost:8000(/invitations/\S+)", outbox.mails[0][1].get_content())
    assert link
    client.get(link[1])

    with committed():
        client.post(RESET, {"email": "stranger@elsewhere.example"})

    assert outbox.receivers == ["dora@acme.example"]


def test_with_sign_up_open_the_unknown_address_is_told_how_to_sign_up(client, outbox, committed, settings, db):
    settings.KEYFARE_SIGNUP_OPEN = True

    with committed():
        client.post(RESET, {"email": "stranger@elsewhere.example"})

    assert "http://localhost:8000/accounts/signup/" in outbox.mails[0][1].get_content()


def test_every_link_in_a_mail_leads_to_the_site_of_the_settings(client, alice, settings, mailoutbox):
    settings.ALLOWED_HOSTS, settings.KEYFARE_SIGNUP_OPEN = ["*"], True
    settings.SITE_URL = "https://keyfare.acme.example"
    password = {"password1": "a long enough passphrase", "password2": "a long enough passphrase"}
    elsewhere: dict[str, Any] = {"headers": {"host": "evil.example"}}

    client.post(RESET, {"email": alice.email}, **elsewhere)
    client.post(RESET, {"email": "stranger@elsewhere.example"}, **elsewhere)
    client.post(reverse("account_signup"), {"email": "new@acme.example", **password}, **elsewhere)
    client.post(reverse("account_signup"), {"email": alice.email, **password}, **elsewhere)
    logged_in(alice).post(reverse("account_email"), {"email": "second@acme.example", "action_add": ""}, **elsewhere)

    assert len(mailoutbox) == 5
    for message in mailoutbox:
        said = f"{message.subject} {message.body} {message.extra_headers}"
        assert "evil.example" not in said
        links = re.findall(r"\w+://[^/\s]+", said)
        assert set(links) == {"https://keyfare.acme.example"}
        assert len(links) == 2
        assert "Expires" in message.extra_headers


def test_the_mail_with_a_reset_link_is_not_sent_after_the_link_died(client, alice, outbox, settings):
    settings.PASSWORD_RESET_TIMEOUT = 600

    client.post(RESET, {"email": alice.email})

    assert OutgoingMail.objects.get().good_until <= timezone.now() + timedelta(seconds=600)


# To ADMINS ------------------------------------------------------------------------------------------
# None of these tests may use the database: it may be what crashed.


@pytest.fixture
def crash_reports(settings) -> logging.Handler:
    """The handler that settings configure, with an operator to write to."""
    settings.ADMINS = [("operator@example.com", "operator@example.com")]
    return next(each for each in logging.getLogger("django").handlers if hasattr(each, "email_backend"))


def test_a_crash_is_mailed_without_the_database(crash_reports, outbox):
    crash_reports.handle(logging.LogRecord("django", logging.ERROR, "", 0, "The database is gone", None, None))

    assert outbox.receivers == ["operator@example.com"]


def test_a_crash_with_a_mail_server_that_hangs_holds_up_nobody(crash_reports, outbox, settings, monkeypatch):
    outbox.mode = "hang"
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "sync": False}

    for _ in range(at_once.AT_A_TIME + 3):
        crash_reports.handle(logging.LogRecord("django", logging.ERROR, "", 0, "Crash", None, None))

    assert outbox.reached.wait(30)
    talking = [thread for thread in threading.enumerate() if thread.name == "mail-admins"]
    assert 1 <= len(talking) <= at_once.AT_A_TIME
    outbox.over.set()
    for thread in talking:
        thread.join(30)
        assert not thread.is_alive()


@pytest.mark.parametrize("failure", [None, hang, refuse])
def test_who_tells_the_operator_learns_whether_a_mail_left(outbox, settings, failure):
    settings.ADMINS = [("operator@example.com", "operator@example.com")]
    if failure:
        failure(outbox, settings)

    assert at_once.tell_admins("Background work\nhas stopped", "Since 14:02 UTC.") is (failure is None)
    if failure is None:
        assert outbox.mails[0][1]["Subject"] == "[Django] Background work has stopped"


def test_nobody_is_told_where_there_is_no_operator_or_no_server(outbox, settings):
    assert not at_once.tell_admins("A", "B")
    settings.ADMINS, settings.MAIL_TRANSPORT = [("operator@example.com", "operator@example.com")], ""
    assert not at_once.tell_admins("A", "B")
    assert outbox.connections == 0


@pytest.mark.parametrize("kept", ["console", "filebased", "dummy"])
def test_a_mail_that_is_only_printed_or_kept_has_told_nobody(kept, settings, tmp_path, capsys):
    settings.ADMINS = [("operator@example.com", "operator@example.com")]
    settings.EMAIL_FILE_PATH = str(tmp_path)
    settings.MAIL_TRANSPORT = f"django.core.mail.backends.{kept}.EmailBackend"

    assert not at_once.tell_admins("Background work has stopped", "Since 14:02 UTC.")
    written = capsys.readouterr().out + "".join(each.read_text() for each in tmp_path.iterdir())
    assert ("Since 14:02 UTC." in written) is (kept != "dummy")


@pytest.mark.usefixtures("db")
def test_what_is_mailed_to_admins_by_other_code_goes_through_the_outbox(outbox, settings):
    settings.ADMINS = [("operator@example.com", "operator@example.com")]

    mail_admins("A", "B")

    assert OutgoingMail.objects.get().recipient == "operator@example.com"
    assert mail.outbox == []
    assert User.objects.count() == 0
