"""Whoever imports a file that is no profile hears what it is and what to do, however it comes."""

from __future__ import annotations

import base64
import io
import json
import zipfile

import pytest
from django.core.management import call_command
from django.urls import reverse

from candidates.models import Candidate
from candidates.profiles.file_kinds import HOW_TO_GIVE_TEXT
from candidates.profiles.files import FileUnreadable, RowError, parse_file, read_profile


def zipped(*names: str, mimetype: str = "") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        if mimetype:
            archive.writestr("mimetype", mimetype)
        for name in names:
            archive.writestr(name, "content")
    return file.getvalue()


PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog >>\nendobj\n"
FILES: dict[str, bytes] = {
    "a PDF": PDF,
    "an RTF document": rb"{\rtf1\ansi\deff0 {\fonttbl {\f0 Arial;}} Noor Example}",
    "a Word document (.docx)": zipped("[Content_Types].xml", "word/document.xml"),
    "an Excel workbook (.xlsx)": zipped("[Content_Types].xml", "xl/workbook.xml"),
    "an OpenDocument text (.odt)": zipped("content.xml", mimetype="application/vnd.oasis.opendocument.text"),
    "a Pages document": zipped("Index/Document.iwa"),
    "a LinkedIn data export": zipped("Profile.csv", "Positions.csv"),
    "a zip archive": zipped("resume.json"),
    "a broken or cut zip archive": zipped("resume.json")[:40],
    "an old Office document (.doc, .xls)": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100),
    "a PNG picture": b"\x89PNG\r\n\x1a\n" + bytes(30),
    "a JPEG picture": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00",
    "a GIF picture": b"GIF89a\x01\x00\x01\x00\x00\x00",
    "a WebP picture": b"RIFF\x24\x00\x00\x00WEBPVP8 ",
    "a HEIC or AVIF picture": b"\x00\x00\x00\x18ftypheic\x00\x00",
    "a gzip archive": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
    "a PDF in base64": base64.b64encode(PDF),
    "UTF-16 text": json.dumps({"basics": {"name": "Noor"}}).encode("utf-16"),
    "UTF-16 text, without a mark,": json.dumps({"basics": {"name": "Noor"}}).encode("utf-16-le"),
    "UTF-32 text": json.dumps({"basics": {"name": "Noor"}}).encode("utf-32"),
    "a table (CSV)": b"name,email,skills\nNoor Example,noor@example.com,Python\n",
    "a table (CSV), with semicolons": "Name;Wohnort\nNoor Müller;Köln\n".encode(),
    "a table (CSV) of a LinkedIn data export": b"First Name,Last Name,Maiden Name,Address\nNoor,Example,,\n",
    "YAML": b"---\n# my resume\nbasics:\n  name: Noor Example\n",
    "a web page (HTML)": b"<!DOCTYPE html>\n<html><body><h1>Noor Example</h1></body></html>",
    "a Europass CV in XML": b'<?xml version="1.0"?><SkillsPassport xmlns="http://europass.cedefop.europa.eu/Europass"/>',
    "XML": b"<?xml version='1.0'?>\n<Resume><Name>Noor</Name></Resume>",
    "a contact (vCard)": b"BEGIN:VCARD\nVERSION:4.0\nFN:Noor Example\nEND:VCARD\n",
    "a LaTeX document": b"\\documentclass{article}\n\\begin{document}\nNoor\n\\end{document}\n",
    "plain text": b"Noor Example\nData Engineer\n\nAcme, 2019 to now: built pipelines in Python and SQL.\nBerlin\n",
}


def kind(name: str) -> str:
    return name.split(", w")[0]


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_profile_is_named_with_what_to_do(name):
    with pytest.raises(FileUnreadable) as refused:
        parse_file(FILES[name])

    sentence = str(refused.value)
    assert sentence.startswith(f"The file is {kind(name)}")
    assert any(
        advice in sentence for advice in (HOW_TO_GIVE_TEXT, "Unpack it", "unpack it", "Save it", "Turn each line")
    )
    assert refused.value.line == 0


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b'{"basics": {"name": "Noor",}}', "The file is not JSON: "),
        (b'[{"basics": {"name": "Noor"}', "The file is not JSON: "),
        (b"basics", "The file is not JSON: expecting value at line 1, column 1."),
        ('{"basics": {"name": "Zoë"}}'.encode("latin-1"), "The file is not UTF-8 text. "),
    ],
)
def test_broken_json_is_still_told_where_it_breaks(data, sentence):
    with pytest.raises(FileUnreadable, match=sentence.replace(".", r"\.")):
        parse_file(data)


@pytest.mark.parametrize("cut", [0, 1, 2, 3, 10, 50])
def test_no_cut_file_makes_it_raise_anything_else(cut):
    for data in FILES.values():
        for part in (data[:cut], data[cut:]):
            try:
                parse_file(part)
            except FileUnreadable as refused:
                assert str(refused).endswith((".", "}"))  # noqa: PT017  # raised by some parts only


@pytest.mark.parametrize(
    ("raw_text", "named"),
    [
        (PDF.decode("latin-1"), "a PDF"),
        (base64.b64encode(PDF).decode(), "a PDF in base64"),
        (base64.b64encode(FILES["a Word document (.docx)"]).decode(), "a Word document or zip archive in base64"),
        (FILES["an RTF document"].decode(), "an RTF document"),
        ("data:application/pdf;base64,JVBERi0xLjcK", "a data address"),
    ],
)
def test_a_raw_text_that_is_a_file_is_refused_by_name(raw_text, named):
    row = read_profile({"basics": {"name": "Noor Example"}, "raw_text": raw_text})

    assert row == RowError(1, f"Its raw_text is {named}, not its text. Copy the text out of it.")


def test_the_page_names_what_was_uploaded_or_pasted(as_bob, acme):
    url = reverse("candidates:import", args=[acme.slug])
    file = io.BytesIO(PDF)
    file.name = "cv.json"

    uploaded = as_bob.post(url, {"file": file})
    pasted = as_bob.post(url, {"text": PDF.decode("latin-1")})
    written = as_bob.post(url, {"text": FILES["plain text"].decode()})

    for response, said in ((uploaded, "The file is a PDF."), (pasted, "It is a PDF."), (written, "It is plain text.")):
        assert response.status_code == 422
        assert said in response.content.decode()
    assert not Candidate.objects.exists()


def test_the_command_names_what_each_file_is(acme, tmp_path):
    good = tmp_path / "good.json"
    good.write_text('{"basics": {"name": "Noor Example"}}')
    cv = tmp_path / "cv.pdf"
    cv.write_bytes(PDF)
    out = io.StringIO()

    call_command(
        "import_candidates", "--organization", "acme", str(cv), str(good), "--json", stdout=out, stderr=io.StringIO()
    )

    report = json.loads(out.getvalue())
    assert (report["imported"], [error["file"] for error in report["errors"]]) == (1, [str(cv)])
    assert report["errors"][0]["reason"].startswith("The file is a PDF. ")


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        ({"basics": {"name": "Noor"}, "raw_text": base64.b64encode(PDF).decode()}, "Its raw_text is a PDF in base64"),
        ({"SkillsPassport": {}}, "It is a Europass CV. "),
    ],
)
def test_the_api_names_what_an_inline_profile_is(program, briefing, profile, said):
    response = program.ask({"briefingId": briefing.pk, "profile": profile})

    assert response.status_code == 400
    assert response.json()["error"].startswith(f"The profile cannot be read. {said}")
