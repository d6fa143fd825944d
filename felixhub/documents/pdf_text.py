"""PDF into text, page by page.

Owns: what pypdf's complaints mean to a person. Must not: draw, follow links or run anything that is in the file.
"""

from __future__ import annotations

import io
import logging

from pypdf import PdfReader
from pypdf.errors import DependencyError, FileNotDecryptedError

from felixhub.core.errors import ConfigError

PAGES_MAX = 3_000


def pdf_text(data: bytes, *, text_bytes_max: int) -> str:
    """The texts of the pages, parted by form feeds. Raises ConfigError, without a place, with what is wrong.

    Stops soon after `text_bytes_max`; what then comes back is longer than that.
    """
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # It warns of every oddity that it can read in spite of.
    try:
        reader = PdfReader(io.BytesIO(data))
        count = len(reader.pages)
    except (FileNotDecryptedError, DependencyError):  # The latter: no part for its cipher is installed.
        raise ConfigError(
            "this PDF is encrypted: save it without protection, for example with qpdf --decrypt IN.pdf OUT.pdf"
        ) from None
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  (pypdf raises anything for a broken file)
        raise ConfigError("this PDF is damaged: open it in a viewer and save it anew, or give its text") from None
    if not count:
        raise ConfigError("this PDF has no pages")
    if count > PAGES_MAX:
        raise ConfigError(f"this PDF has {count} pages, at most {PAGES_MAX} are read: give those that matter")
    texts: list[str] = []
    size = 0
    for number in range(count):
        texts.append(_page(reader, number))
        size += len(texts[-1].encode(errors="replace"))
        if size > text_bytes_max:
            break  # It is refused anyway.
    if not any(text.strip() for text in texts):
        raise ConfigError("this PDF has no text, only pictures: run text recognition (OCR) over it first")
    return "\f".join(texts)


def _page(reader: PdfReader, number: int) -> str:
    try:
        text = reader.pages[number].extract_text()
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  (as above; a page left out in silence would be worse)
        raise ConfigError(
            f"page {number + 1} of this PDF is damaged: open it in a viewer and save it anew, or give its text"
        ) from None
    return text.replace("\f", "\n").strip()  # Form feeds are for pages.
