"""What a file is that holds no JSON, told by its content: its owner hears its name and what to do."""

from __future__ import annotations

import csv
import io
import re
import zipfile

HOW_TO_GIVE_TEXT = 'Copy its text into {"basics": {"name": "…"}, "raw_text": "…"} and import that.'
NOT_UTF8 = "The file is not UTF-8 text. Save it with the encoding UTF-8 and import it again."
NOT_UTF8_BUT = "The file is {} text, not UTF-8. Save it with the encoding UTF-8 and import it again."

_DOCUMENT, _PICTURE, _ARCHIVE = range(3)
_STARTS: tuple[tuple[bytes, str, int], ...] = (
    (b"{\\rtf", "an RTF document", _DOCUMENT),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office document (.doc, .xls)", _DOCUMENT),
    (b"%!PS", "a PostScript file", _DOCUMENT),
    (b"SQLite format 3\x00", "an SQLite database", _DOCUMENT),
    (b"\x89PNG\r\n\x1a\n", "a PNG picture", _PICTURE),
    (b"\xff\xd8\xff", "a JPEG picture", _PICTURE),
    (b"GIF8", "a GIF picture", _PICTURE),
    (b"BM", "a BMP picture", _PICTURE),
    (b"II*\x00", "a TIFF picture", _PICTURE),
    (b"MM\x00*", "a TIFF picture", _PICTURE),
    (b"\x1f\x8b", "a gzip archive", _ARCHIVE),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _ARCHIVE),
    (b"Rar!\x1a\x07", "a RAR archive", _ARCHIVE),
    (b"\xfd7zXZ\x00", "an xz archive", _ARCHIVE),
    (b"BZh", "a bzip2 archive", _ARCHIVE),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive", _ARCHIVE),
)
_IN_BASE64: tuple[tuple[bytes, str], ...] = (
    (b"JVBERi0", "a PDF in base64"),
    (b"UEsDB", "a Word document or zip archive in base64"),
    (b"e1xydGY", "an RTF document in base64"),
    (b"0M8R4KGx", "an old Office document in base64"),
    (b"iVBORw0KGgo", "a PNG picture in base64"),
    (b"/9j/4", "a JPEG picture in base64"),
    (b"data:", "a data address"),
)
_IN_ZIP: tuple[tuple[str, str], ...] = (
    (r"word/.*", "a Word document (.docx)"),
    (r"xl/.*", "an Excel workbook (.xlsx)"),
    (r"ppt/.*", "a PowerPoint file (.pptx)"),
    (r"(.*/)?(Profile|Positions|Education|Skills)\.csv", "a LinkedIn data export"),
    (r"Index/Document\.iwa", "a Pages document"),
)
_OPEN_DOCUMENTS = {
    "text": "an OpenDocument text (.odt)",
    "spreadsheet": "an OpenDocument spreadsheet (.ods)",
    "presentation": "an OpenDocument presentation (.odp)",
}
_ADVICE = {
    _DOCUMENT: HOW_TO_GIVE_TEXT,
    _PICTURE: f"Keyfare reads text only. {HOW_TO_GIVE_TEXT}",
    _ARCHIVE: "Unpack it and import the JSON files in it.",
}
_YAML = re.compile(
    r"(?:---[^\n]*\n)?(?:#[^\n]*\n|\n)*(?:basics|cv|resume|work|candidate_id|\"?\$schema\"?):"
    r"[ \t]*(?:\n|[^\n]+\n[\w-]+:)"
)
_LINKEDIN = f"Its tables are no profile: open the profile instead. {HOW_TO_GIVE_TEXT}"
_LOOKED_AT = 4_096  # bytes of a file that say what it is


def what_it_is(data: bytes) -> str:
    """A sentence that names what `data` is and says what to do, or "" if it may be text in UTF-8."""
    if named := _binary(data, _start(data)):
        kind, advice = named
        return f"The file is {kind}. {advice}"
    if encoding := _other_encoding(data):
        return NOT_UTF8_BUT.format(encoding)
    return ""


def what_text_it_is(data: bytes) -> str:
    """The same for text that was found to be no JSON, or "" if it may be broken JSON or nothing known."""
    start = _start(data)
    if not start or start[:1] in b'{["' or not _is_text(start):
        return ""
    kind, advice = _kind_of_text(start.decode(errors="replace"))
    return f"The file is {kind}. {advice}" if kind else ""


def _start(data: bytes) -> bytes:
    return data[:_LOOKED_AT].lstrip(b"\xef\xbb\xbf \t\r\n")


def no_text(text: str) -> str:
    """Why a profile's `raw_text` is none: it is a file itself, pasted as it is or in base64. Or ""."""
    start = text[:_LOOKED_AT].encode(errors="replace")
    named = _binary(start, start)
    return f"Its raw_text is {named[0]}, not its text. Copy the text out of it." if named else ""


def _binary(data: bytes, start: bytes) -> tuple[str, str] | None:
    if b"%PDF-" in data[:1024]:
        return "a PDF", HOW_TO_GIVE_TEXT
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zipped(data)
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "a WebP picture", _ADVICE[_PICTURE]
    if start[4:8] == b"ftyp" and start[8:12] in (b"heic", b"heix", b"mif1", b"avif"):
        return "a HEIC or AVIF picture", _ADVICE[_PICTURE]
    for magic, kind, what in _STARTS:
        if start.startswith(magic) and (len(magic) > 3 or not _is_text(start)):
            return kind, _ADVICE[what]
    for magic, kind in _IN_BASE64:
        if start.startswith(magic):
            return kind, HOW_TO_GIVE_TEXT
    return None


def _zipped(data: bytes) -> tuple[str, str]:
    if found := re.search(rb"mimetypeapplication/vnd\.oasis\.opendocument\.([a-z]{1,20})", data[:200]):
        return _OPEN_DOCUMENTS.get(found[1].decode(), "an OpenDocument file"), HOW_TO_GIVE_TEXT
    if b"mimetypeapplication/epub+zip" in data[:200]:
        return "an EPUB", HOW_TO_GIVE_TEXT
    try:
        names = zipfile.ZipFile(io.BytesIO(data)).namelist()
    except Exception:  # whatever zipfile raises of a broken archive
        return "a broken or cut zip archive", "Save it anew, unpack it and import the JSON files in it."
    for pattern, kind in _IN_ZIP:
        if any(re.fullmatch(pattern, name) for name in names):
            if kind == "a LinkedIn data export":
                return kind, _LINKEDIN
            return kind, HOW_TO_GIVE_TEXT
    return "a zip archive", _ADVICE[_ARCHIVE]


def _other_encoding(data: bytes) -> str:
    if data.startswith((b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")):
        return "UTF-32"
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16"
    start = data[:200]
    if len(start) > 3 and not data.startswith(b"\x00\x00\x00"):  # without a mark: each second byte of ASCII is NUL
        even, odd = start[::2].count(0), start[1::2].count(0)
        if max(even, odd) * 5 > len(start) * 2 and min(even, odd) * 10 < len(start):
            return "UTF-16"
    return ""


def _is_text(start: bytes) -> bool:
    return not any(byte < 9 or 13 < byte < 32 for byte in start)


def _kind_of_text(text: str) -> tuple[str, str]:
    small = text.lower()
    if "skillspassport" in small or "europass" in small[:600]:
        return "a Europass CV in XML", f"Open it in the Europass editor. {HOW_TO_GIVE_TEXT}"
    if small.startswith("<?xml") or re.match(r"<[a-z][\w:.-]*[\s>]", small):
        is_page = re.search(r"<!doctype html|<html|<body|<p>|<div", small)
        return ("a web page (HTML)" if is_page else "XML"), HOW_TO_GIVE_TEXT
    if small.startswith("<!doctype"):
        return "a web page (HTML)", HOW_TO_GIVE_TEXT
    if small.startswith("begin:vcard"):
        return "a contact (vCard)", HOW_TO_GIVE_TEXT
    if _YAML.match(text):
        return "YAML", "Save it as JSON and import that."
    if small.startswith("first name,last name,"):
        return (
            "a table (CSV) of a LinkedIn data export",
            _LINKEDIN,
        )
    if _is_table(text):
        return "a table (CSV)", 'Turn each line into {"basics": {"name": "…"}, "raw_text": "…"}, one a line (.jsonl).'
    if re.match(r"\\documentclass|%.*\n\\documentclass", text):
        return "a LaTeX document", HOW_TO_GIVE_TEXT
    if len(text.split()) >= 20 or text.count("\n") >= 3:
        return "plain text", HOW_TO_GIVE_TEXT
    return "", ""


def _is_table(text: str) -> bool:
    """Whether two lines at least have the same number of cells, one of the usual marks between them."""
    for mark in ",;\t":
        try:
            rows = [row for row in csv.reader(text.splitlines()[:5], delimiter=mark) if row]
        except csv.Error:
            continue
        header = rows[0] if rows else []
        is_header = len(header) > 1 and all(0 < len(cell.strip()) <= 60 for cell in header)
        if is_header and len(rows) > 1 and len(rows[1]) == len(header) and sum(map(len, header)) < 400:
            return True
    return False
