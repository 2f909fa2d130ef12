from __future__ import annotations

from django.db import migrations, models
from django.db.models import Q

from organizations.append_only import lift, protect


class Migration(migrations.Migration):
    """Events of before stay as they were written: calls to Ollama among them unpriced, with the reason of then."""

    dependencies = [("usage", "0003_what_answers_say")]

    operations = [
        lift("usage_usageevent"),
        migrations.AddField(
            "inflightcall",
            "no_token_charges",
            models.BooleanField(
                default=False,
                help_text="It goes to the organization's own server, as its key said when the call left.",
            ),
        ),
        migrations.AlterField(
            "usageevent",
            "price_source",
            models.CharField(
                choices=[
                    ("provider", "Reported by the provider"),
                    ("catalog", "Price list"),
                    ("own_server", "No token charges"),
                    ("none", "Unpriced"),
                ],
                max_length=10,
            ),
        ),
        migrations.AlterField(
            "usageevent",
            "no_price",
            models.CharField(
                blank=True,
                choices=[
                    ("not_billed", "The call failed in a way that providers do not bill"),
                    ("nothing_used", "The call used no tokens"),
                    (
                        "no_answer",
                        "The call left and brought no answer that could be read; it may have been billed",
                    ),
                    ("not_reported", "The provider reported no tokens"),
                    (
                        "unclear_tokens",
                        "The provider reported only some of the tokens, or counts that do not add up",
                    ),
                    ("part_of_cost", "The provider reported only a part of the cost"),
                    (
                        "extras",
                        "The call was billed for more than text: a tool of the provider, sound or pictures",
                    ),
                    ("tier", "The price list has no price for the tier, speed or region that served the call"),
                    ("not_listed", "The price list does not know the model, or not all that it used"),
                ],
                help_text="Why it has no cost.",
                max_length=20,
            ),
        ),
        migrations.AlterField(
            "usageevent",
            "usage_reported",
            models.BooleanField(
                default=False, help_text="Else not all tokens are known; those that are not stand as 0."
            ),
        ),
        migrations.AddConstraint(
            "usageevent",
            models.CheckConstraint(
                condition=Q(("price_source", "own_server"), _negated=True) | Q(cost_nanousd=0),
                name="an_own_server_costs_nothing",
            ),
        ),
        protect("usage_usageevent"),
    ]
