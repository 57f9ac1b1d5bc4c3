"""The encoding of an input: declared, told by its byte-order mark, UTF-8 if all of it is, else cp1252. Never half and half."""

import codecs
import hashlib
import io
from dataclasses import dataclass
from typing import BinaryIO

from worker.feeds.records import DECLARED, Unreadable

MARK = "byte-order mark"
UTF8 = "valid UTF-8"
CP1252 = "neither BOM nor UTF-8: read as cp1252"

# UTF-32 first: its mark begins with that of UTF-16.
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# How files begin that hold no text at all, and what to do with them.
OTHERS = (
    (b"PK\x03\x04", "an Excel workbook or a ZIP archive: save the sheet as CSV, or unpack it"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook: save the sheet as CSV"),
    (b"\x1f\x8b", "compressed (gzip): unpack it first"),
)
PIECE = 2**20
SAMPLE = 2**16


@dataclass(frozen=True)
class Survey:
    """What one pass over the bytes tells. `begins`: number of bytes before the text, those of the byte-order mark."""

    encoding: str
    known_by: str
    begins: int
    size: int
    sha256: str


def survey(file: BinaryIO, name: str, declared: str | None) -> Survey:
    """Read the whole file once, in pieces, and say how to decode it; after that decoding cannot fail.

    Raises Unreadable with line and byte where the text is not what it is declared or says to be.
    """
    head = file.read(4)
    for begin, what in OTHERS:
        if head.startswith(begin):
            raise Unreadable(f"{name} is {what}.")
    mark, marked = next(((mark, encoding) for mark, encoding in MARKS if head.startswith(mark)), (b"", None))
    encoding = _declared(name, declared, marked, head) if declared else marked
    file.seek(len(mark))
    digest, size, strict = hashlib.sha256(mark), len(mark), True
    decoder = codecs.getincrementaldecoder(encoding or "utf-8")("strict" if encoding else "ignore")
    good = bad = 0
    while piece := file.read(PIECE):
        digest.update(piece)
        size += len(piece)
        if encoding:
            strict = strict and _decodes(decoder, piece)
        elif not piece.isascii() or decoder.getstate()[0]:
            characters, stray = _weighed(decoder, piece)
            good, bad = good + characters, bad + stray
    known_by = DECLARED if declared else MARK
    if encoding:
        if not (strict and _decodes(decoder, b"", final=True)):
            why = "the feed declares" if declared else "its byte-order mark says"
            raise _flawed(file, name, encoding, len(mark), f"{why} {encoding}. It was cut off or damaged: fetch it again, "
                                                               "or declare its encoding")  # fmt: skip
    else:
        bad += len(decoder.getstate()[0])
        encoding, known_by = _guessed(file, name, good, bad)
    return Survey(encoding, known_by, len(mark), size, digest.hexdigest())


def sample(file: BinaryIO, found: Survey) -> str:
    """Return the beginning of the text, about 64 KiB of it."""
    file.seek(found.begins)
    return codecs.getincrementaldecoder(found.encoding)().decode(file.read(SAMPLE))


def _declared(name: str, declared: str, marked: str | None, head: bytes) -> str:
    """Return the declared encoding with its byte order; a byte-order mark of another one is a contradiction."""
    try:
        "".encode(declared)
        known = codecs.lookup(declared).name
    except LookupError as error:
        raise Unreadable(
            f'{name}: the feed declares the encoding "{declared}", which is not known. Use utf-8, utf-16 or cp1252.'
        ) from error
    known = known.removesuffix("-sig")
    if marked is not None:
        if not marked.startswith(known):
            raise Unreadable(
                f"{name}: the feed declares {known}, but the file begins with the byte-order mark of {marked}. "
                "Take the encoding out of the declaration, or have the file written as declared."
            )
        return marked
    if known in {"utf-16", "utf-32"}:
        return f"{known}-be" if head.startswith(b"\0") else f"{known}-le"
    return known


def _guessed(file: BinaryIO, name: str, good: int, bad: int) -> tuple[str, str]:
    """Choose by what was seen: `good` characters beyond ASCII that are UTF-8, `bad` bytes that are not."""
    if not bad:
        return "utf-8", UTF8
    if bad <= 2 * good:
        # Read as cp1252, every other name would be spoilt for the sake of one damaged place.
        raise _flawed(file, name, "utf-8", 0, "the rest is UTF-8. The file was damaged or cut off: fetch it again, "
                      "or declare its encoding")  # fmt: skip
    if _flaw(file, "cp1252", 0):
        raise _flawed(file, name, "cp1252", 0, "the file is not UTF-8 either. Declare its encoding")
    return "cp1252", CP1252


def _weighed(decoder: codecs.IncrementalDecoder, piece: bytes) -> tuple[int, int]:
    """Return the number of characters beyond ASCII that are UTF-8, and of bytes that belong to none."""
    before = len(decoder.getstate()[0])
    text = decoder.decode(piece)
    pending = len(decoder.getstate()[0])
    return len(text) - len(text.encode("ascii", "ignore")), before + len(piece) - len(text.encode()) - pending


def _decodes(decoder: codecs.IncrementalDecoder, piece: bytes, *, final: bool = False) -> bool:
    try:
        decoder.decode(piece, final)
    except UnicodeDecodeError:
        return False
    return True


def _flawed(file: BinaryIO, name: str, encoding: str, begins: int, rest: str) -> Unreadable:
    line, offset = _flaw(file, encoding, begins) or (1, 0)
    return Unreadable(f"{name}, line {line}: byte {offset + 1} of the file is not {encoding}, but {rest}.")


def _flaw(file: BinaryIO, encoding: str, begins: int) -> tuple[int, int] | None:
    """Return the line (from 1) and the offset (from 0) of the first byte that cannot be decoded; None: there is none."""
    file.seek(begins)
    decoder = codecs.getincrementaldecoder(encoding)()
    lines = io.IncrementalNewlineDecoder(None, translate=True)
    line, offset = 1, begins
    while True:
        piece = file.read(PIECE)
        pending = len(decoder.getstate()[0])
        try:
            line += lines.decode(decoder.decode(piece, not piece)).count("\n")
        except UnicodeDecodeError as error:
            line += lines.decode(error.object[: error.start].decode(encoding, "replace"), final=True).count("\n")
            return line, offset - pending + error.start
        if not piece:
            return None
        offset += len(piece)
