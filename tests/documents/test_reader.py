"""Files into text: each format as a reader would see it, each refusal one sentence with the file."""

from __future__ import annotations

import io
import os
import threading
import zlib
from pathlib import Path

import pytest
from pypdf import PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from felixhub.core.errors import ConfigError
from felixhub.core.messages import Document
from felixhub.documents import reader
from felixhub.documents.apart import clean
from felixhub.documents.reader import read_document, read_documents


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refusal(path: Path, **limits: float) -> str:
    """The sentence that a file is refused with, its folder left out."""
    with pytest.raises(ConfigError) as caught:
        read_document(path, **limits)
    assert str(caught.value).startswith(str(path.parent))
    return str(caught.value)[len(str(path.parent)) + 1 :]


def writer_of(*pages: str) -> PdfWriter:
    """A PDF with these lines on its pages, in Helvetica; an empty page draws nothing."""
    writer = PdfWriter()
    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
            NameObject("/Encoding"): NameObject("/WinAnsiEncoding"),
        }
    )
    for text in pages:
        page = writer.add_blank_page(600, 800)
        page[NameObject("/Resources")] = DictionaryObject(
            {NameObject("/Font"): DictionaryObject({NameObject("/F1"): font})}
        )
        lines = " ".join(f"({line}) Tj T*" for line in text.split("\n") if line)
        stream = DecodedStreamObject()
        stream.set_data(f"BT /F1 12 Tf 14 TL 50 700 Td {lines} ET".encode("cp1252"))
        page[NameObject("/Contents")] = writer._add_object(stream)
    return writer


def bytes_of(writer: PdfWriter) -> bytes:
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


# Plain text


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.MARKDOWN", "a.text", "a.rst", "README"])
def test_text_comes_as_it_is(tmp_path: Path, name: str) -> None:
    text = " # Café\r\n\n\ttabs, \x1b[31m and 騒音 \f page 2\n"
    assert read_document(write(tmp_path, name, text)) == text


def test_a_byte_order_mark_goes(tmp_path: Path) -> None:
    assert read_document(write(tmp_path, "a.txt", b"\xef\xbb\xbfwords")) == "words"


def test_a_pipe_is_read_like_a_file(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    feeding = threading.Thread(target=path.write_bytes, args=(b"from a pipe",))
    feeding.start()
    assert read_document(path) == "from a pipe"
    feeding.join()


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.md", b"fine\ncaf\xe9", "a.md:2: this is not UTF-8 text: save it as UTF-8"),
        ("a.txt", "words".encode("utf-16"), "a.txt:1: this is not UTF-8 text: save it as UTF-8"),
        ("a.txt", b"PK\n\0\0", "a.txt:2: this is not text, it has zero bytes: give it as text, Markdown, HTML or PDF"),
        ("a.txt", b"%PDF-1.7\n\xff", "a.txt: this is a PDF, whatever its name says: give it the ending .pdf"),
        ("a.html", b"%PDF-1.7\n\xff", "a.html: this is a PDF, whatever its name says: give it the ending .pdf"),
        ("a.html", b"<p>\n\0", "a.html:2: this is not text, it has zero bytes"),
        ("a.pdf", b"<p>words</p>", "a.pdf: this is not a PDF, whatever its name says: look what it is"),
        ("a.txt", b" \n\t", "a.txt: this document is empty"),
        ("a.txt", "\N{NO-BREAK SPACE}\n", "a.txt: this document is empty"),
        ("a.pdf", b"", "a.pdf: this document is empty"),
        ("a.docx", b"PK", "a.docx: cannot read .docx files yet: give it as text, Markdown, HTML or PDF"),
    ],
)
def test_what_is_not_the_text_it_seems_is_refused(
    tmp_path: Path, name: str, content: bytes | str, sentence: str
) -> None:
    assert refusal(write(tmp_path, name, content)).startswith(sentence)


def test_what_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.md") == "none.md: cannot read this document: No such file or directory"
    (tmp_path / "folder").mkdir()
    assert refusal(tmp_path / "folder") == "folder: cannot read this document: Is a directory"
    assert refusal(tmp_path / "nul\0.md").endswith("cannot read this document: embedded null byte")


def test_a_file_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large.pdf"
    with path.open("wb") as file:
        file.truncate(reader.FILE_BYTES_MAX + 1)
    expected = f"large.pdf: this document is larger than {reader.FILE_BYTES_MAX} bytes: give the part that matters"
    assert refusal(path) == expected


def test_an_endless_device_is_refused() -> None:
    assert refusal(Path("/dev/zero")).startswith("zero: this document is larger than")


# HTML


def test_html_reads_like_the_page(tmp_path: Path) -> None:
    page = """<!doctype html><html><head><meta charset="utf-8"><title>T</title><style>p{}</style></head><body>
    <h1>Noise &amp; <em>quiet</em></h1><p>First   line<br>second line</p><h3>Costs</h3>
    <ul><li>one<ul><li>inner</ul></li><li>two</ul><ol start="3"><li>three<li>four</ol>
    <blockquote><p>quoted</p></blockquote>
    <table><tr><th>Name<th>Price|EUR<tr><td><b>A</b>lice<td>3<br>4</table>
    <table><tr><td><p>layout</p><tr><td>only</table>
    <pre>def f():
    return 1</pre><img src="http://192.0.2.1/x.png" alt="a plan"></body></html>"""
    assert read_document(write(tmp_path, "a.HTM", page)).split("\n\n") == [
        "# Noise & quiet",
        "First line\nsecond line",
        "### Costs",
        "- one\n  - inner\n- two\n3. three\n4. four",
        "> quoted",
        "| Name | Price\\|EUR |\n| --- | --- |\n| Alice | 3 4 |",
        "layout",
        "only",
        "```\ndef f():\n    return 1\n```",
        "[a plan]",
    ]


@pytest.mark.parametrize(
    "hiding",
    [
        "<script>{}</script>",
        "<style>{}</style>",
        "<!-- {} -->",
        "<!-- {} --!><!-- > -->",
        "<p hidden>{}</p>",
        "<div style='color: red; DISPLAY : none'><p>{}</p><br>{}</div>",
        "<span style='visibility:hidden'>{}</span>",
        "<template><p>{}</p></template>",
        "<svg><text>{}</text></svg>",
        "<table><tr><td>shown<td hidden>{}</table>",
        "<title>{}</title>",
        "<noscript>{}</noscript>",
    ],
)
def test_what_a_reader_does_not_see_is_left_out(tmp_path: Path, hiding: str) -> None:
    page = f"<p>before</p>{hiding.replace('{}', 'SECRET')}<p>after</p>"
    text = read_document(write(tmp_path, "a.html", page))
    assert "SECRET" not in text
    assert "before" in text and text.endswith("after")


def test_markup_that_is_only_text_stays_text(tmp_path: Path) -> None:
    assert read_document(write(tmp_path, "a.html", "<p>&lt;script&gt;1 &amp;lt; 2")) == "<script>1 &lt; 2"


@pytest.mark.parametrize(
    "data",
    [
        "<p>Größe 騒音".encode(),
        "<p>Größe 騒音".encode("utf-8-sig"),
        "<p>Größe 騒音".encode("utf-16"),
        "<meta charset='gb2312'><p>Größe 騒音".encode("gb18030"),
        "<meta http-equiv='Content-Type' content='text/html; charset=GBK'><p>Größe 騒音".encode("gb18030"),
        '<?xml version="1.0" encoding="UTF-8"?><p>Größe 騒音'.encode(),
    ],
)
def test_the_encoding_comes_from_the_page(tmp_path: Path, data: bytes) -> None:
    assert read_document(write(tmp_path, "a.html", data)) == "Größe 騒音"


def test_latin_1_is_read_as_browsers_do(tmp_path: Path) -> None:
    page = b"<meta charset=ISO-8859-1><p>caf\xe9 \x96 5 \x80"
    assert read_document(write(tmp_path, "a.html", page)) == "café – 5 €"


@pytest.mark.parametrize(
    ("page", "sentence"),
    [
        (b"<p>fine\n<p>caf\xe9", "a.html:2: this page is not utf-8 from here on: save it as UTF-8"),
        (b"<meta charset='klingon'>", "a.html: this page says it is 'klingon', which is not known: save it as UTF-8"),
        (b"<meta charset='unicode_escape'>", "a.html: this page says it is 'unicode_escape', which is not known"),
        (
            b"<script>draw()</script><p> </p>",
            "a.html: this page shows no text without its scripts: save it from the browser as text or PDF",
        ),
    ],
)
def test_a_page_that_cannot_be_read_is_refused(tmp_path: Path, page: bytes, sentence: str) -> None:
    assert refusal(write(tmp_path, "a.html", page)).startswith(sentence)


def test_control_characters_of_a_page_go(tmp_path: Path) -> None:
    page = "<p>a\x1b[31mb\x07\x9bc&#8;\fd</p><pre>\te\ff</pre>"
    assert read_document(write(tmp_path, "a.html", page)) == "a[31mbc d\n\n```\n\te\nf\n```"


def test_a_page_that_nests_without_end_is_given_up(tmp_path: Path) -> None:
    path = write(tmp_path, "deep.html", "<div>" * 2_000_000 + "x")
    assert refusal(path, reading_s_max=1.5) == (
        "deep.html: this HTML is not read after 1.5 s: split it, or give its text"
    )


# PDF


def test_the_pages_of_a_pdf_are_parted_by_form_feeds(tmp_path: Path) -> None:
    data = bytes_of(writer_of("Noise at night\nCafé – 5 €", "", "Third page"))
    assert read_document(write(tmp_path, "a.pdf", data)) == "Noise at night\nCafé – 5 €\f\fThird page"


def test_a_pdf_may_have_lines_before_it(tmp_path: Path) -> None:
    data = b"Content-Type: application/pdf\n\n" + bytes_of(writer_of("words"))
    assert read_document(write(tmp_path, "a.pdf", data)) == "words"


def test_a_pdf_that_anyone_may_open_is_read(tmp_path: Path) -> None:
    writer = writer_of("words")
    writer.encrypt("", "owner", algorithm="RC4-128")
    assert read_document(write(tmp_path, "a.pdf", bytes_of(writer))) == "words"


ENCRYPTED = "a.pdf: this PDF is encrypted: save it without protection, for example with qpdf --decrypt IN.pdf OUT.pdf"
DAMAGED = "a.pdf: this PDF is damaged: open it in a viewer and save it anew, or give its text"


def test_an_encrypted_pdf_is_refused(tmp_path: Path) -> None:
    writer = writer_of("words")
    writer.encrypt("secret", algorithm="RC4-128")
    assert refusal(write(tmp_path, "a.pdf", bytes_of(writer))) == ENCRYPTED


@pytest.mark.parametrize("cut", [9, 40, 300])
def test_a_damaged_pdf_is_refused(tmp_path: Path, cut: int) -> None:
    assert refusal(write(tmp_path, "a.pdf", bytes_of(writer_of("words"))[:cut])) == DAMAGED


def test_a_damaged_page_is_named(tmp_path: Path) -> None:
    writer = writer_of("one", "two")
    bad = DecodedStreamObject()
    bad.set_data(b"no such thing")
    bad[NameObject("/Filter")] = NameObject("/NoSuchFilter")
    writer.pages[1][NameObject("/Contents")] = writer._add_object(bad)
    sentence = "a.pdf: page 2 of this PDF is damaged: open it in a viewer and save it anew, or give its text"
    assert refusal(write(tmp_path, "a.pdf", bytes_of(writer))) == sentence


def test_a_pdf_without_pages_is_refused(tmp_path: Path) -> None:
    assert refusal(write(tmp_path, "a.pdf", bytes_of(PdfWriter()))) == "a.pdf: this PDF has no pages"


def test_a_pdf_with_too_many_pages_is_refused(tmp_path: Path) -> None:
    data = bytes_of(writer_of(*[""] * 3_001))
    sentence = "a.pdf: this PDF has 3001 pages, at most 3000 are read: give those that matter"
    assert refusal(write(tmp_path, "a.pdf", data)) == sentence


def test_a_scanned_pdf_is_refused(tmp_path: Path) -> None:
    sentence = "a.pdf: this PDF has no text, only pictures: run text recognition (OCR) over it first"
    assert refusal(write(tmp_path, "a.pdf", bytes_of(writer_of("", "")))) == sentence


def bomb(repeats: int) -> bytes:
    """A PDF of some kilobytes whose only page draws 64 letters `repeats` times."""
    content = zlib.compress((b"(" + b"A" * 64 + b") Tj T*\n") * repeats, 9)
    parts = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents 4 0 R /Resources "
        b"<< /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>",
        b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(content), content),
    ]
    out = io.BytesIO(b"%PDF-1.4\n")
    out.seek(0, io.SEEK_END)
    places = []
    for number, part in enumerate(parts, 1):
        places.append(out.tell())
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, part))
    xref = out.tell()
    out.write(b"xref\n0 5\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % place for place in places))
    out.write(b"trailer << /Size 5 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % xref)
    return out.getvalue()


def test_a_pdf_that_swells_is_given_up(tmp_path: Path) -> None:
    assert read_document(write(tmp_path, "small.pdf", bomb(2))) == "A" * 128
    path = write(tmp_path, "bomb.pdf", bomb(700_000))
    assert path.stat().st_size < 1_000_000
    sentence = "bomb.pdf: this PDF is not read after 2 s: split it, or give its text"
    assert refusal(path, reading_s_max=2) == sentence


def test_a_pdf_with_too_much_text_is_refused(tmp_path: Path) -> None:
    line = "\n".join(["word " * 2_000] * 16)  # 160 kB of text a page
    data = bytes_of(writer_of(*[line] * 30))
    assert refusal(write(tmp_path, "a.pdf", data)).startswith("a.pdf: the documents come to more than 3145728 bytes")


def test_what_comes_apart_is_clean() -> None:
    assert clean("a\x00b\rc\r\nd\te\ff\x1b\x7f\x85g") == "ab\nc\nd\te\ffg"
    assert clean("\ud83d\ude00 \ud800x") == "😀 \N{REPLACEMENT CHARACTER}x"


# Several


def test_documents_have_their_files_names(tmp_path: Path) -> None:
    for folder in ("a", "b", "c"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder, "notes.md", folder)
    odd = write(tmp_path, "x\x1b\ny.txt", "odd")
    long = write(tmp_path, f"{'l' * 240}.txt", "long")
    broken = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt"))
    broken.write_text("broken")
    files = [tmp_path / "a/notes.md", tmp_path / "b/notes.md", tmp_path / "c/notes.md", odd, long, broken]
    assert read_documents(files) == [
        Document(name="notes.md", text="a"),
        Document(name="notes.md (2)", text="b"),
        Document(name="notes.md (3)", text="c"),
        Document(name="x��y.txt", text="odd"),
        Document(name="l" * 180, text="long"),
        Document(name="caf�.txt", text="broken"),
    ]


def test_all_documents_together_have_a_limit(tmp_path: Path) -> None:
    half = write(tmp_path, "half.md", "é" * (reader.DOCUMENTS_BYTES_MAX // 4))
    assert len(read_documents([half, half])) == 2
    one_more = write(tmp_path, "more.md", "x")
    with pytest.raises(ConfigError, match=r"more\.md: the documents come to more than 3145728 bytes of text"):
        read_documents([half, half, one_more])


def test_the_number_of_documents_has_a_limit(tmp_path: Path) -> None:
    file = write(tmp_path, "a.md", "x")
    assert len(read_documents([file] * 100)) == 100
    with pytest.raises(ConfigError, match="these are 101 documents, a run takes 100: join some, or choose"):
        read_documents([file] * 101)
