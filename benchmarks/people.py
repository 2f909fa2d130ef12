"""
Writes files of people for `import_candidates`:

    python -m benchmarks.people COUNT DIRECTORY
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

PEOPLE_A_FILE = 20_000
SKILLS = ("Python", "Django", "PostgreSQL", "Kubernetes", "Kafka", "React", "Rust", "Terraform", "Nursing", "Welding")
FIRST = ("Anna", "Bruno", "Chiara", "Dmitri", "Elif", "Farid", "Grace", "Henrik", "Ines", "Jonas", "Kemal", "Lucía")
LAST = ("Rossi", "Schmidt", "Nowak", "García", "Yılmaz", "Okafor", "Ivanova", "Dubois", "Svensson", "Tanaka", "Silva")


def people_files(directory: Path, count: int, *, called: str = "") -> list[Path]:
    """`count` profiles of about 800 bytes; `called` makes them other people than those without it."""
    files = []
    for start in range(0, count, PEOPLE_A_FILE):
        file = directory / f"people{called}-{start}.jsonl"
        with file.open("w") as lines:
            for number in range(start, min(start + PEOPLE_A_FILE, count)):
                lines.write(json.dumps(_profile(number, called), ensure_ascii=False) + "\n")
        files.append(file)
    return files


def _profile(number: int, called: str) -> dict[str, Any]:
    chance = random.Random(f"{number}{called}")
    first, last = chance.choice(FIRST), chance.choice(LAST)
    name = f"{first} {last}{called} {number}"
    skills = chance.sample(SKILLS, 4)
    return {
        "basics": {
            "name": name,
            "label": f"{skills[0]} specialist",
            "email": f"person{number}{called}@people.example",
            "url": f"https://people.example/in/person-{number}{called}",
            "summary": f"{name} has worked with {skills[0]} and {skills[1]} for {chance.randrange(1, 20)} years.",
        },
        "work": [
            {
                "name": f"Company {chance.randrange(1000)}",
                "position": f"{skill} engineer",
                "startDate": str(2010 + place),
                "summary": f"Built and ran services with {skill} for a team of {chance.randrange(2, 40)} people.",
            }
            for place, skill in enumerate(skills[:3])
        ],
        "skills": [{"name": skill, "keywords": [skill.lower()]} for skill in skills],
    }


if __name__ == "__main__":
    people_files(Path(sys.argv[2]), int(sys.argv[1]))
