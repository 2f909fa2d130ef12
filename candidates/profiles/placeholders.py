"""What people leave standing in a template of a résumé: its example of a user name or an e-mail names nobody."""

from __future__ import annotations

import re

from candidates.profiles.names import folded

# No word may be made of others: a long repetition must have one reading only.
_YOURS = "your my the votre ton ihr dein tu su seu tuo uw jouw first last full real given family custom public"
_WORDS = """
    user login name nickname surname initials handle alias account id profile url link slug here vanity linkedin github
    gitlab email mail address example sample template placeholder demo todo tbd changeme someone somebody candidate me
    nom prenom pseudo identifiant utilisateur profil vorname nachname benutzername nombre apellido apellidos usuario
    perfil nome sobrenome cognome utente profilo naam voornaam achternaam gebruikersnaam
"""
_ANY_YOURS, _ANY_WORD = "|".join(_YOURS.split()), "|".join(_WORDS.split())
# `yourusername`, `your-linkedin-profile`, `firstname.lastname`, `first.last`, `username123`
_TEMPLATE = re.compile(rf"(?!(?:{_ANY_YOURS})+$)(?:{_ANY_YOURS}|{_ANY_WORD})+\d*|firstlast\d*")
_OF_SOMEBODY = re.compile(rf"(?:{_ANY_YOURS}).+|.*(?:name|naam|nom|nome|example|placeholder).*")
MAX_TEMPLATE_CHARACTERS = 60
# The people of well-known templates: JSON Resume and its samples, LaTeX classes, word processors.
_ACCOUNTS = frozenset(
    {"johndoe", "john.doe", "john_doe", "janedoe", "jane.doe", "jane_doe", "jdoe", "max-mustermann", "maxmustermann"}
    | {"neutralthoughts", "dandymusicnl", "john", "janedeveloper", "janedev", "samanthajones", "sjones"}
    | {"danielreyesdata", "dreyes-data", "jake", "posquit0", "reallygreatsite", "erika-mustermann"}
)
_ADDRESSES = frozenset(
    {"john@gmail.com", "thomas@gmail.com", "richard.hendriks@mail.com", "richard.hendriks@gmail.com"}
    | {"hello@reallygreatsite.com", "jake@su.edu"}
)


def is_placeholder(account: str) -> bool:
    """Whether a user name is a template's, or LinkedIn's own alias for whoever is logged in (`me`)."""
    letters = _joined(account)
    is_filler = not letters or (len(letters) > 2 and (len(set(letters)) == 1 or letters in "1234567890"))  # xxx, 123
    return is_filler or account.lower() in _ACCOUNTS or _is_template(letters)


def is_placeholder_email(address: str) -> bool:
    """Whether an e-mail is a template's. `me@…` and `mail@…` are real ones of people with a domain of their own."""
    local = _joined(address.partition("@")[0])
    return address in _ADDRESSES or (_is_template(local) and bool(_OF_SOMEBODY.fullmatch(local)))


def _is_template(letters: str) -> bool:
    return len(letters) <= MAX_TEMPLATE_CHARACTERS and bool(_TEMPLATE.fullmatch(letters))


def _joined(text: str) -> str:
    return folded(text).replace(" ", "")
