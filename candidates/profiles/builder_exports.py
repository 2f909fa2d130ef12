"""
Exports of résumé builders as JSON Resume: what their authors show, and nothing of what they keep to themselves.

Translated are Reactive Resume 3, 4 and 5 (the shapes of their own schemas, October 2026) and OpenResume. Other known
exports are refused by name, with what to do: read as they are, half of them would be lost or drowned.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from candidates.profiles.values import is_hidden, label_of

HOW_ELSE = 'or paste its text: {"basics": {"name": "…"}, "raw_text": "…"}.'

_REACTIVE_SECTIONS = {
    "experience": "work",
    "work": "work",
    "education": "education",
    "skills": "skills",
    "languages": "languages",
    "certifications": "certificates",
    "projects": "projects",
    "volunteer": "volunteer",
    "awards": "awards",
    "publications": "publications",
    "interests": "interests",
    "references": "references",
}
_STANDARD = frozenset({*_REACTIVE_SECTIONS.values(), "basics", "meta", "raw_text", "resume", "candidate_id"})
_LOOKS = frozenset({"id", "icon", "iconColor", "columns", "levelNum", "options"})
_RENAMED = {"school": "institution", "degree": "studyType", "grade": "score", "period": "date"}
_STANDARD_BASICS = frozenset({"name", "label", "email", "phone", "location", "url", "birthdate", "summary", "profiles"})
_RENAMED_BY_OPEN_RESUME = {
    **_RENAMED,
    "jobTitle": "position",
    "project": "name",
    "descriptions": "highlights",
    "gpa": "score",
}
_HR_OPEN = ("candidate", "Candidate", "StructuredXMLResume")
_OPEN_RESUME_PARTS = ("workExperiences", "educations", "projects", "skills", "custom")


def translated(document: dict[str, Any]) -> dict[str, Any]:
    """A builder's export as JSON Resume; any other document as it is. Never raises."""
    inner = document.get("data")
    if isinstance(inner, dict) and "basics" not in document and _is_reactive(inner):  # as its API gives it
        document = inner
    if _is_reactive(document):
        return _from_reactive(document)
    if _is_open_resume(document):
        return _from_open_resume(document)
    return document


def without_hidden_forms(row: dict[str, Any]) -> dict[str, Any]:
    """A row in which OpenResume, that says beside the resume what is shown, shows it."""
    resume, settings = row.get("resume"), row.get("settings")
    shown = settings.get("formToShow") if isinstance(settings, dict) else None
    if not (isinstance(resume, dict) and isinstance(shown, dict) and _is_open_resume(resume)):
        return row
    return {
        **row,
        "resume": {key: type(value)() if shown.get(key) is False else value for key, value in resume.items()},
    }


def refusal_of(document: dict[str, Any]) -> str:
    """Why a known export is not read, and what to do instead; or ""."""
    cv, meta = document.get("cv"), document.get("meta")
    format_name = meta.get("format") if isinstance(meta, dict) else None
    if {"SkillsPassport", "LearnerInfo"} & document.keys():
        return f"It is a Europass CV. Export JSON Resume from another builder, {HOW_ELSE}"
    if isinstance(document.get("profile"), dict) and _has_enabled_items(document):
        return (
            "It is an export of Reactive Resume 2. Import it into a newer Reactive Resume and export JSON there, "
            f"{HOW_ELSE}"
        )
    if isinstance(cv, dict) and "basics" not in document and ({"sections", "name"} & cv.keys()):
        return f"It is a RenderCV file. Export JSON Resume from another builder, {HOW_ELSE}"
    if isinstance(format_name, str) and format_name.upper().startswith("FRESH"):
        return f"It is a FRESH résumé. Convert it to JSON Resume with HackMyResume, {HOW_ELSE}"
    if isinstance(document.get("aboutMe"), dict) and ({"experience", "knowledge", "settings"} & document.keys()):
        return f"It is a MAC (Manfred) CV. Export JSON Resume from getmanfred.com, {HOW_ELSE}"
    if "basics" not in document and any(isinstance(document.get(key), dict) for key in _HR_OPEN):
        return f"It is an HR Open Standards (HR-XML) document. Export JSON Resume instead, {HOW_ELSE}"
    return ""


def _is_reactive(document: dict[str, Any]) -> bool:
    sections = document.get("sections")
    return (
        isinstance(document.get("basics"), dict)
        and isinstance(sections, dict)
        and any(isinstance(section, dict) and {"items", "content"} & section.keys() for section in sections.values())
    )


def _has_enabled_items(document: dict[str, Any]) -> bool:
    return any(isinstance(part, dict) and {"enable", "items"} <= part.keys() for part in document.values())


def _from_reactive(document: dict[str, Any]) -> dict[str, Any]:
    sections: dict[str, Any] = document["sections"]
    given: dict[str, Any] = document["basics"]
    basics: dict[str, Any] = {
        "name": given.get("name"),
        "label": given.get("headline"),
        "email": given.get("email"),
        "phone": given.get("phone"),
        "location": given.get("location"),
        "url": _address(given.get("url") or given.get("website")),
        "birthdate": given.get("birthdate"),
        "summary": "\n".join(
            _texts([given.get("summary"), _visible(document.get("summary")), _visible(sections.get("summary"))])
        ),
        "profiles": [
            _item(profile, "profiles")
            for profile in [*_list(given.get("profiles")), *_items(sections.get("profiles"))]
            if isinstance(profile, dict)
        ],
    }
    for field in _list(given.get("customFields")):
        if isinstance(field, dict) and not is_hidden(field):
            value = field.get("value") or " ".join(filter(None, _texts([field.get("text"), field.get("link")])))
            _add(basics, field.get("name") or "More", value)
    resume: dict[str, Any] = {"basics": {key: value for key, value in basics.items() if value}}
    for key, section in sections.items():
        name = _REACTIVE_SECTIONS.get(key)
        if key == "custom" and isinstance(section, dict) and not isinstance(section.get("items"), list):
            for custom in section.values():
                _add_custom(resume, custom)
        elif name:
            resume.setdefault(name, []).extend(_translated_items(section, name))
        elif key not in ("summary", "profiles"):
            _add_custom(resume, section)
    for custom in _list(document.get("customSections")):
        _add_custom(resume, custom)
    return {key: value for key, value in resume.items() if value}


def _add_custom(resume: dict[str, Any], section: Any) -> None:
    """A section of the author's own, under its title; one of a known type joins that section."""
    if not isinstance(section, dict):
        return
    kind = section.get("type")
    name = _REACTIVE_SECTIONS.get(kind) if isinstance(kind, str) else None
    if not name:
        title = section.get("title") or section.get("name")
        name = label_of(title) if isinstance(title, str) else ""
        name = f"{name} (section)" if name.lower() in _STANDARD else name or "More"
    items = _translated_items(section, name)
    if isinstance(resume.setdefault(name, []), list):
        resume[name].extend(items)


def _translated_items(section: Any, name: str) -> list[Any]:
    items = [
        part
        for item in _items(section)
        for part in (_jobs(item) if name == "work" and isinstance(item, dict) else [item])
    ]
    return [_item(item, name) if isinstance(item, dict) else item for item in items if item]


def _jobs(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A job, and one for each role that its author lists within it."""
    roles = [role for role in _list(item.get("roles")) if isinstance(role, dict) and not is_hidden(role)]
    job = {key: value for key, value in item.items() if key != "roles"}
    if not roles or job.get("description") or job.get("position"):
        yield job
    for role in roles:
        yield {"company": item.get("company"), "location": item.get("location"), **role}


def _item(item: dict[str, Any], name: str) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for key, value in item.items():
        if key in ("url", "website", "link"):
            read["url"] = _address(value)
        elif key not in _LOOKS and not (key == "level" and not isinstance(value, str)):
            read[_RENAMED.get(key, key)] = value
    if isinstance(date := read.get("date"), dict):
        read |= {"startDate": date.get("start"), "endDate": date.get("end"), "date": None}
    if name in ("skills", "languages"):
        words = (read.pop(key, None) for key in ("proficiency", "description", "level", "fluency"))
        level = next(filter(None, words), "")
        rating = item.get("level")
        if not level and isinstance(rating, int | float) and rating > 0:
            level = f"{rating} of 5"
        read["fluency" if name == "languages" else "level"] = level
    return {key: value for key, value in read.items() if value not in (None, "", [], {})}


def _items(section: Any) -> list[Any]:
    """The visible entries of a visible section."""
    if not isinstance(section, dict) or is_hidden(section):
        return []
    return [item for item in _list(section.get("items")) if not is_hidden(item)]


def _visible(section: Any) -> Any:
    return None if is_hidden(section) else section


def _texts(values: list[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, dict) and not is_hidden(value):
            value = value.get("content") or value.get("body")
        if isinstance(value, str) and value.strip():
            yield value


def _address(value: Any) -> Any:
    return (value.get("href") or value.get("url") or "") if isinstance(value, dict) else value


def _add(basics: dict[str, Any], name: Any, value: Any) -> None:
    """A field of the author's own, beside others of the same name."""
    key = f"{name} (field)" if not isinstance(name, str) or name in _STANDARD_BASICS else name
    if value:
        basics[key] = f"{basics[key]}, {value}" if basics.get(key) else value


def _is_open_resume(document: dict[str, Any]) -> bool:
    return isinstance(document.get("profile"), dict) and (
        isinstance(document.get("workExperiences"), list) or isinstance(document.get("educations"), list)
    )


def _from_open_resume(document: dict[str, Any]) -> dict[str, Any]:
    profile: dict[str, Any] = document["profile"]
    links = (("LinkedIn", "linkedinLink"), ("GitHub", "githubLink"))
    skills = document.get("skills")
    skills = skills if isinstance(skills, dict) else {}
    resume: dict[str, Any] = {
        "basics": {
            **{key: value for key, value in profile.items() if not key.endswith("Link")},
            "url": profile.get("portfolioLink") or profile.get("url"),
            "profiles": [{"network": name, "url": profile[key]} for name, key in links if profile.get(key)],
        },
        **{
            name: [
                {_RENAMED_BY_OPEN_RESUME.get(key, key): value for key, value in entry.items() if value}
                for entry in _list(document.get(part))
                if isinstance(entry, dict) and any(entry.values())
            ]
            for part, name in (("workExperiences", "work"), ("educations", "education"), ("projects", "projects"))
        },
        "skills": [
            *(
                {"name": skill.get("skill"), "level": f"{skill['rating']} of 5" if skill.get("rating") else ""}
                for skill in _list(skills.get("featuredSkills"))
                if isinstance(skill, dict) and skill.get("skill")
            ),
            *_list(skills.get("descriptions")),
            *_list(document.get("skills")),
        ],
        **{key: value for key, value in document.items() if key not in ("profile", *_OPEN_RESUME_PARTS)},
    }
    custom = document.get("custom")
    if isinstance(custom, dict) and custom.get("descriptions"):
        resume["More"] = custom["descriptions"]
    return {key: value for key, value in resume.items() if value}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
