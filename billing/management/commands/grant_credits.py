from __future__ import annotations

import json
import uuid
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing import ledger
from organizations.models import Organization
from organizations.typed_numbers import NotANumber, typed_number


class Command(BaseCommand):
    help = "Give credits to an organization."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--organization", metavar="SLUG", required=True)
        parser.add_argument("--amount", metavar="N", required=True, help="Credits, a whole number above 0.")
        parser.add_argument("--reason", metavar="TEXT", required=True, help="Shown on the credits page.")
        parser.add_argument(
            "--idempotency-key", metavar="K", help="Names this grant: given again, it grants nothing more."
        )
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")

    def handle(
        self,
        *args: Any,
        organization: str,
        amount: str,
        reason: str,
        idempotency_key: str | None,
        **options: Any,
    ) -> None:
        customer = Organization.objects.customers().filter(slug=organization).first()
        if customer is None:
            raise CommandError(f"There is no organization “{organization}”.")
        try:
            credits = typed_number(amount)
        except NotANumber:
            raise CommandError(f"“{amount}” is no amount: give a whole number above 0.") from None
        try:
            entry = ledger.grant_credits(
                organization=customer,
                amount=credits,
                reason=reason,
                idempotency_key=idempotency_key or f"command:{uuid.uuid4()}",
            )
        except (ValueError, ledger.IdempotencyConflict) as error:
            raise CommandError(str(error)) from error
        balance = ledger.balance(organization=customer)
        if options["json"]:
            answer = {
                "organization": customer.slug,
                "granted": entry.d_posted,
                "entry": entry.seq,
                "available": balance.available,
            }
            self.stdout.write(json.dumps(answer))
        else:
            self.stdout.write(
                f"{customer.name}: {ledger.counted(entry.d_posted)} granted (entry {entry.seq}). "
                f"{balance.available} available now."
            )
