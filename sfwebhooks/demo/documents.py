"""Small real documents with metadata in them: author and software come in, the bytes of a file go out.

The scanner's file module reads them with python-docx, PyPDF2 and ExifRead, and passes over files below 512 bytes.
"""

from __future__ import annotations

import io
import struct
import zipfile

_SMALLEST = 1024

_CONTENT_TYPES = (
    '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Override PartName="/word/document.xml" '
    'ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/>'
    '<Override PartName="/docProps/core.xml" '
    'ContentType="application/vnd.openxmlformats-package.core-properties+xml"/></Types>'
)
_RELATIONS = (
    '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Id="r1" Target="word/document.xml" '
    'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"/>'
    '<Relationship Id="r2" Target="docProps/core.xml" '
    'Type="http://schemas.openxmlformats.org/package/2006/relationships/metadata/core-properties"/></Relationships>'
)
_BODY = (
    '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
    '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>'
    "<w:p><w:r><w:t>Anvils: strategy</w:t></w:r></w:p></w:body></w:document>"
)
_CORE = (
    '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
    '<cp:coreProperties xmlns:cp="http://schemas.openxmlformats.org/package/2006/metadata/core-properties" '
    'xmlns:dc="http://purl.org/dc/elements/1.1/">'
    "<dc:creator>{author}</dc:creator><dc:description>{comment}</dc:description></cp:coreProperties>"
)


def archive(**members: str) -> bytes:
    """Return a zip file with the given names and texts; a name's double underscore stands for a dot."""
    return _zip({name.replace("__", "."): text for name, text in members.items()})


def docx(author: str, comment: str) -> bytes:
    """Return a Word document with this author and comment in its properties."""
    return _zip(
        {
            "[Content_Types].xml": _CONTENT_TYPES,
            "_rels/.rels": _RELATIONS,
            "word/document.xml": _BODY,
            "docProps/core.xml": _CORE.format(author=author, comment=comment),
        }
    )


def pdf(author: str, producer: str) -> bytes:
    """Return a PDF of one empty page with this author and producer in its information."""
    objects = (
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] >>",
        f"<< /Author ({author}) /Producer ({producer}) /Creator ({producer}) >>",
    )
    body = "%PDF-1.4\n%" + "anvil " * 100 + "\n"
    offsets = []
    for number, content in enumerate(objects, 1):
        offsets.append(len(body))
        body += f"{number} 0 obj\n{content}\nendobj\n"
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    trailer = f"trailer\n<< /Size 5 /Root 1 0 R /Info 4 0 R >>\nstartxref\n{len(body)}\n%%EOF\n"
    return f"{body}xref\n0 5\n0000000000 65535 f \n{table}{trailer}".encode("ascii")


def jpeg(artist: str, software: str) -> bytes:
    """Return the frame of a JPEG whose Exif block names this artist and software; it shows no picture."""
    texts = {0x0131: software.encode() + b"\0", 0x013B: artist.encode() + b"\0"}
    offset = 8 + 2 + 12 * len(texts) + 4
    entries, values = b"", b""
    for tag, value in sorted(texts.items()):
        entries += struct.pack(">HHII", tag, 2, len(value), offset + len(values))
        values += value
    tiff = b"MM\0*\0\0\0\x08" + struct.pack(">H", len(texts)) + entries + b"\0\0\0\0" + values
    exif = b"Exif\0\0" + tiff
    comment = b"anvil " * 150
    return (
        b"\xff\xd8"
        + (b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif)
        + (b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment)
        + b"\xff\xd9"
    )


def _zip(members: dict[str, str]) -> bytes:
    """Return a stored zip file, padded by a comment to a size that the scanner reads."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members.items():
            file.writestr(zipfile.ZipInfo(name), content)
        file.comment = b"." * max(0, _SMALLEST - buffer.tell())
    return buffer.getvalue()
