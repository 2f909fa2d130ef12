"""Requirements drafted from a job description, by looking for its sentences that name something to be had."""

from __future__ import annotations

import re
from typing import Any

from simulator.words import WORD, significant_words, stem

MOST_REQUIREMENTS = 8
FEWEST_REQUIREMENTS = 4
LONGEST_REQUIREMENT = 200
LONGEST_TITLE = 120
LONG_SENTENCE_WORDS = 16

PIECE = re.compile(r"[\n•·●▪◦;]|â€¢|\s[-–—*]{1,2}\s|-{2,}|\*{2,}|(?<=[.!?])\s+|(?:^|\s)\(?\d{1,2}[.)]\s")
LEADING = re.compile(r"^(?:[\s\-–—*•·●:.,)]+|and\s|or\s|either:?\s)+", re.IGNORECASE)
TITLE_LINE = re.compile(r"^\s*(?:job title|title|position|role)\s*[:\-–]\s*(.+)$", re.IGNORECASE | re.MULTILINE)
LOOKING_FOR = re.compile(
    r"\b(?:looking for|seeking|seeks|hiring|searching for)\s+(?:an?|our|the)\s+(?:qualified |experienced )?"
    r"([A-Za-z][A-Za-z/&+# -]{3,60}?)(?=[,.;:\n]| to | who | with | for | in | and | that )",
    re.IGNORECASE,
)
BESIDE_THE_POINT = re.compile(r"\b(as assigned|as described|equal opportunity|to apply|salary)\b", re.IGNORECASE)
ANYBODY = re.compile(r"candidate|individual|person|people|professional|someone", re.IGNORECASE)
MUST = re.compile(r"\b(must|required?|requires|minimum|at least|mandatory|essential|need(ed)? to)\b", re.IGNORECASE)
WISH = re.compile(
    r"\b(preferred|preferably|nice to have|plus|bonus|desirable|desired|advantage|ideally|ideal)\b",
    re.IGNORECASE,
)
HAVING = re.compile(
    r"\b(experience|knowledge|skills?|degree|diploma|certifi\w+|proficien\w+|familiar\w*|ability|able to|"
    r"understanding|background|years?|expertise|fluent|qualified|competen\w+|track record|responsib\w+|"
    r"manag\w+|develop\w*|design\w*|build\w*|lead\w*|maintain\w*|conduct\w*|coordinat\w*|prepar\w*|"
    r"analy[sz]\w+|implement\w*|support\w*)\b",
    re.IGNORECASE,
)
SKILLS = {
    stem(word): word
    for word in """Python Java JavaScript TypeScript React Angular Vue Node Ruby Rails PHP Go Rust Kotlin
    Swift Scala C++ C# .NET SQL PostgreSQL MySQL Oracle MongoDB Redis Kafka Elasticsearch GraphQL REST HTML
    CSS Docker Kubernetes Terraform Ansible Jenkins AWS Azure GCP Linux Windows Git DevOps Django Flask Spring
    TensorFlow PyTorch Tableau Excel PowerPoint SAP Salesforce Hadoop Spark Airflow Cybersecurity Cryptography
    Encryption Accounting Auditing Budgeting Procurement Logistics Compliance Nursing Epidemiology Statistics
    Research Marketing Sales Negotiation Recruiting Teaching Training Architecture Surveying Engineering
    Construction Inspection Agile Scrum Kanban Communication Leadership Writing Spanish German French
    Microbiology Chemistry Biology Economics Finance Law""".split()  # noqa: SIM905
}


def draft(job_description: str) -> dict[str, Any]:
    """
    `{"title", "requirements": [{"text", "kind", "weight"}]}` with up to 8 requirements of up to 200
    characters.

    Sentences that say must, required, minimum, … become must-haves (at most three), the others nice-to-haves
    with a weight of 1 (a wish) to 3 (names several skills). Fewer than four only if the text has no more to
    say.
    """
    musts = 0
    requirements: list[dict[str, Any]] = []
    for piece in _choose(_pieces(job_description)):
        text = _short(piece)
        if any(text == row["text"] for row in requirements):
            continue
        is_must = bool(MUST.search(piece)) and not WISH.search(piece) and musts < 3
        musts += is_must
        weight = 1 if WISH.search(piece) else min(1 + len(_skills(piece)), 3)
        requirements.append({"text": text, "kind": "must" if is_must else "nice", "weight": 1 if is_must else weight})
    for skill in _skills(job_description):
        if len(requirements) >= FEWEST_REQUIREMENTS:
            break
        if not any(skill in row["text"] for row in requirements):
            requirements.append({"text": f"Experience with {skill}", "kind": "nice", "weight": 2})
    return {"title": title(job_description), "requirements": requirements}


def title(job_description: str) -> str:
    """The line that names the job, else a short first line, else what is looked for, else the first words."""
    if named := TITLE_LINE.search(job_description):
        return named.group(1).strip()[:LONGEST_TITLE]
    lines = [line.strip(" #*") for line in job_description.splitlines() if line.strip()]
    first = lines[0] if lines else ""
    if 0 < len(first) <= 80 and len(lines) > 1:
        return first.rstrip(".:")
    named = LOOKING_FOR.search(job_description)
    if named and not ANYBODY.search(named.group(1)):
        return named.group(1).strip()[:LONGEST_TITLE]
    return " ".join(first.split()[:8])[:LONGEST_TITLE] or "Untitled job"


def _pieces(text: str) -> list[str]:
    """The sentences and list items of a text, but for its title line."""
    pieces, seen = [], {title(text).lower()}
    for part in PIECE.split(text):
        piece = LEADING.sub("", " ".join((part or "").split())).rstrip(" .,:-–")
        if significant_words(piece) and " " in piece and piece.lower() not in seen:
            seen.add(piece.lower())
            pieces.append(piece)
    return pieces


def _choose(pieces: list[str]) -> list[str]:
    """The most telling pieces, in their order."""
    by_worth = sorted(range(len(pieces)), key=lambda index: (-_worth(pieces[index]), index))
    telling = [index for index in by_worth if _worth(pieces[index]) > 0][:MOST_REQUIREMENTS]
    if len(telling) < FEWEST_REQUIREMENTS:
        telling = by_worth[:FEWEST_REQUIREMENTS]
    return [pieces[index] for index in sorted(telling)]


def _worth(piece: str) -> int:
    length = len(piece.split())
    worth = 2 * min(len(_skills(piece)), 3) + 2 * bool(MUST.search(piece)) + bool(WISH.search(piece))
    worth += min(len(HAVING.findall(piece)), 2)
    worth -= 3 * bool(BESIDE_THE_POINT.search(piece))
    return worth - (length > LONG_SENTENCE_WORDS) - (length > 2 * LONG_SENTENCE_WORDS) - 2 * (length < 4)


def _skills(piece: str) -> list[str]:
    return list(dict.fromkeys(SKILLS[found] for word in WORD.findall(piece) if (found := stem(word)) in SKILLS))


def _short(piece: str) -> str:
    """The piece itself if it is short; else the skills it names, else its beginning."""
    skills = _skills(piece)
    if len(piece.split()) > LONG_SENTENCE_WORDS and len(skills) >= 2:
        return f"Experience with {', '.join(skills[:-1][:4])} and {skills[-1]}"
    if len(piece) > LONGEST_REQUIREMENT:
        piece = piece[:LONGEST_REQUIREMENT]
        comma = piece.rfind(",")
        piece = piece[: comma if comma > LONGEST_REQUIREMENT // 2 else piece.rfind(" ")].rstrip(" ,;:")
    return piece[0].upper() + piece[1:]
