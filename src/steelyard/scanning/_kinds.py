"""Which kind of file a piece is, by what is in it rather than by its name, and who scans it."""

from __future__ import annotations

import codecs
import re
import struct
from collections.abc import Callable
from dataclasses import replace

from steelyard.errors import CheckpointError, LimitError
from steelyard.scanning._archive import Archive, is_archive
from steelyard.scanning._arrays import MAGIC, scan_array
from steelyard.scanning._graphs import scan_graph, scan_metadata, scan_saved_model
from steelyard.scanning._hdf5 import is_hdf5, scan_hdf5
from steelyard.scanning._json_text import MOST_BYTES
from steelyard.scanning._keras_objects import scan_json
from steelyard.scanning._packed import is_packed, unpacked
from steelyard.scanning._pickles import INSTRUCTIONS, begins_as_pickle, scan_pickles
from steelyard.scanning._piece import Piece, base, nameless
from steelyard.scanning._report import Report
from steelyard.scanning._strings import is_obeyed, is_path_out, is_url, shown

_HEAD = 4096
_MOST_DEPTH = 4
_MOST_TEXT = 64 << 20
_PICKLES = (".pkl", ".pickle", ".p", ".joblib", ".debug_pkl", ".pt", ".pth", ".ckpt", ".bin")
_NUMBERS = re.compile(r".*\.data-\d{5}-of-\d{5}")
_PROGRAMS = (".py", ".pyc", ".pyd", ".so", ".dll", ".dylib", ".exe", ".sh", ".bat", ".ps1", ".jar")
_EXECUTABLE = (b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"#!")
_TABLE = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"
_OCDBT = b"\x0c\xdb"
_OCDBT_DATA = re.compile(r"(?:.*/)?d/[0-9a-f]{32}")
_ZSTD = b"\x28\xb5\x2f\xfd"
_CHUNK = re.compile(r".*/(?:c/)?\d+(?:[./]\d+)*")
_LATEST = re.compile(rb'model_checkpoint_paths?: "([^"]*)"')
_BY_NAME: dict[str, Callable[[Piece, Report], str]] = {
    "saved_model.pb": scan_saved_model,
    "keras_metadata.pb": scan_metadata,
}
_DAMAGE = (
    *(CheckpointError, ValueError, OSError, IndexError, KeyError, TypeError, EOFError),
    *(struct.error, OverflowError, RecursionError, MemoryError),
)


def scan_piece(piece: Piece, report: Report) -> str:
    """Notes what a piece has, and says what kind it is; damage ends the reading of it alone."""
    try:
        report.check()
        kind = _scanned(piece, report)
    except _DAMAGE as error:
        report.add_error(error, piece)
        kind = "not readable"
    return kind


def _scanned(piece: Piece, report: Report) -> str:
    head = piece.read(0, _HEAD)
    if not head:
        return "empty"
    if head.startswith((b"PK\3\4", b"PK\5\6")):
        return _archive(piece, report)
    if not _is_numbers(piece, head) and is_archive(piece):
        report.add("zip-hidden", piece, "", "An archive ends where this ends.")
        _archive(piece, report)
    return _by_content(piece, report, head)


def _by_content(piece: Piece, report: Report, head: bytes) -> str:
    name = base(piece.name).lower()
    if is_hdf5(piece):
        return scan_hdf5(piece, report)
    if head.startswith(MAGIC):
        return scan_array(piece, report)
    if _is_safetensors(piece, head):
        return _safetensors(piece, report)
    if (scan := _BY_NAME.get(name)) is not None:
        return scan(piece, report)
    if is_packed(head):
        return _packed(piece, report)
    if _is_pickle(head, name):
        return scan_pickles(piece, report)
    if _is_numbers(piece, head):
        return "numbers, not looked into"
    if name.endswith(".pb") and name != "fingerprint.pb":
        return scan_graph(piece, report)
    if head.startswith(_EXECUTABLE) or name.endswith(_PROGRAMS):
        report.add("program", piece, "", f"The file {shown(base(piece.name))} is a program.")
        return "a program, not looked into"
    if name == "checkpoint":
        return _latest(piece, report)
    return _text(piece, report, head, name)


# --- Kinds that need no file of their own ---------------------------------------------------------


def _archive(piece: Piece, report: Report) -> str:
    if piece.depth >= _MOST_DEPTH:
        raise LimitError(f"archives in archives, more than {_MOST_DEPTH} deep")
    archive = Archive(piece, report)
    for inner in archive.pieces():
        scan_piece(inner, report)
    return archive.kind


def _packed(piece: Piece, report: Report) -> str:
    if piece.depth >= _MOST_DEPTH:
        raise LimitError(f"archives in archives, more than {_MOST_DEPTH} deep")
    name = base(piece.name).rpartition(".")[0] or base(piece.name)
    part = nameless(unpacked(piece, report), f"{piece.part.name}: unpacked")
    where = ": ".join(filter(None, (piece.member, "unpacked")))
    inner = replace(piece.inside(name, part), member=where)
    return f"packed: {scan_piece(inner, report)}"


def _is_safetensors(piece: Piece, head: bytes) -> bool:
    length = int.from_bytes(head[:8], "little")
    return len(head) > 9 and head[8:9] == b"{" and 2 <= length <= piece.size - 8


def _safetensors(piece: Piece, report: Report) -> str:
    length = int.from_bytes(piece.read(0, 8), "little")
    if length > MOST_BYTES:
        raise LimitError(f"a header of {length:,} bytes; at most {MOST_BYTES:,} are read")
    scan_json(piece, report, piece.read(8, length), "header: $")
    return "safetensors"


def _is_pickle(head: bytes, name: str) -> bool:
    """Whether it says so, by its number in front or by its name."""
    if len(head) > 1 and head[0] == 0x80 and head[1] <= 5:
        return True
    return name.endswith(_PICKLES) and chr(head[0]) in INSTRUCTIONS


def _is_numbers(piece: Piece, head: bytes) -> bool:
    """Bytes of arrays, and their tables, which name files of their own folder by number alone."""
    if _NUMBERS.fullmatch(base(piece.name)):
        return True
    if piece.name.endswith(".index") and piece.read(piece.size - 8, 8) == _TABLE:
        return True
    if head.startswith(_OCDBT) or _OCDBT_DATA.fullmatch(piece.name):
        return True
    if head.startswith(_ZSTD) and _CHUNK.fullmatch(piece.name):
        return True
    return base(piece.name) == "fingerprint.pb"


def _latest(piece: Piece, report: Report) -> str:
    """The file that says which checkpoint of a folder is the latest."""
    for found in _LATEST.finditer(piece.whole(1 << 20)):
        path = found[1].decode("utf-8", "replace")
        if is_path_out(path) or is_url(path):
            report.add("path-in-config", piece, "", f"The latest checkpoint is {shown(path)}.")
    return "the name of a checkpoint"


def _text(piece: Piece, report: Report, head: bytes, name: str) -> str:
    start = head.removeprefix(codecs.BOM_UTF8).lstrip()[:1]
    wide = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"{\0" in head[:4]
    if name.endswith(".json") or ((start in (b"{", b"[") or wide) and _is_json(piece)):
        scan_json(piece, report, piece.whole(MOST_BYTES))
        return "JSON"
    return _plain(piece, report)


def _is_json(piece: Piece) -> bool:
    tail = piece.read(max(0, piece.size - 64), 64).replace(b"\0", b"").rstrip()
    return tail[-1:] in (b"}", b"]")


def _plain(piece: Piece, report: Report) -> str:
    if piece.size > _MOST_TEXT:
        raise LimitError(f"{piece.size:,} bytes; at most {_MOST_TEXT:,} are read of a text")
    is_text = _is_text(piece)
    if begins_as_pickle(piece, whole=is_text):
        return scan_pickles(piece, report)  # of the first protocol, which is a text
    if is_text:
        return "text"
    begins = ascii(piece.read(0, 4))[1:]
    report.add("unknown-kind", piece, "", f"No kind that is known here; it begins {begins}.")
    return "unknown"


def _is_text(piece: Piece) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for at in range(0, piece.size, 1 << 20):
            text = decoder.decode(piece.read(at, 1 << 20), at + (1 << 20) >= piece.size)
            if "\0" in text:
                return False
    except UnicodeDecodeError:
        return False
    return True


def check_name(piece: Piece, report: Report) -> None:
    """Notes the name of a file in a folder that a terminal would obey."""
    if is_obeyed(piece.file):
        report.add("terminal-escape", piece, "", f"The name {shown(base(piece.name))} is there.")
