"""What is looked for in a file, a row each: the page `docs/scan.md` is made of this table."""

from __future__ import annotations

from typing import NamedTuple


class Rule(NamedTuple):
    """One thing that is looked for.

    Args:
        code: Its name, which stays the same.
        severity: One of `steelyard.records.SEVERITIES`.
        group: Where it is looked for; a heading of the page.
        what: What it is and what it can do, in one sentence.
        fix: What to do about it, in one sentence.
        references: Published weaknesses of this kind.
    """

    code: str
    severity: str
    group: str
    what: str
    fix: str
    references: tuple[str, ...] = ()


_WITHOUT = "Load the weights alone, or ask the author for a model without it."
_TRUST = "Load it only if you trust its author, and have read the code that it needs."
_PICKLE = "Do not unpickle it; read its tensors with sy.weights, or ask for safetensors."
_LINKS = ("CVE-2026-1669", "CVE-2026-12480")
_BOMBS = ("CVE-2026-0897", "CVE-2026-12570")
_ZIP = ("CVE-2024-0450", "CVE-2025-12638", "CVE-2026-12479")

_ROWS = (
    Rule(
        *("lambda-bytecode", "danger", "config"),
        "A lambda is kept as bytecode of Python, which runs when the model is loaded or called.",
        _WITHOUT,
        ("CVE-2024-3660", "CVE-2025-9905"),
    ),
    Rule(
        *("function-reference", "danger", "config"),
        "A function is named that is no activation, loss or metric of Keras, so that loading or "
        "calling the model may run any function that is installed.",
        _WITHOUT,
        ("CVE-2025-1550", "CVE-2025-8747"),
    ),
    Rule(
        *("foreign-module", "danger", "config"),
        "A class is taken from a module of Python or of another library, which is no place for "
        "layers.",
        _WITHOUT,
        ("CVE-2025-1550",),
    ),
    Rule(
        *("unsafe-deserialization", "danger", "config"),
        "The function that switches Keras's safe mode off is named.",
        "Do not load the model; nothing honest needs this.",
        ("CVE-2025-9906",),
    ),
    Rule(
        *("tfsm-layer", "danger", "config"),
        "A TFSMLayer loads another SavedModel from a path, and runs what is in it.",
        "Scan that SavedModel as well, and load the model only if you trust both.",
        ("CVE-2026-1462",),
    ),
    Rule(
        *("torch-module-wrapper", "danger", "config"),
        "A TorchModuleWrapper holds a pickle, which can run anything when it is loaded.",
        _WITHOUT,
        ("CVE-2025-49655",),
    ),
    Rule(
        *("vocabulary-file", "danger", "config"),
        "A layer takes its vocabulary from a file or an address, which loading the model opens.",
        "Ask for a model that keeps its vocabulary in its own file.",
        ("CVE-2025-12058",),
    ),
    Rule(
        *("tensorflow-op", "danger", "config"),
        "A layer calls a function of TensorFlow that runs Python, or reads or writes files.",
        _WITHOUT,
    ),
    Rule(
        *("auto-map", "danger", "config"),
        "The config names Python files that loading with trust_remote_code runs.",
        _TRUST,
    ),
    Rule(
        *("path-in-config", "caution", "config"),
        "A path that leads out of the model's own files; whatever uses it opens another file.",
        "Look at what the path is for before you load the model.",
        ("CVE-2025-12058",),
    ),
    Rule(
        *("url-in-config", "caution", "config"),
        "An address in a network; whatever uses it may fetch or send something.",
        "Look at what the address is for before you load the model.",
        ("CVE-2025-12058",),
    ),
    Rule(
        *("unregistered-class", "caution", "config"),
        "A class that is not registered with Keras, from a module that Keras before 3.9 imports "
        "because the file says so.",
        _TRUST,
        ("CVE-2025-1550",),
    ),
    Rule(
        *("custom-class", "note", "config"),
        "A class that is not Keras's own: loading the model needs its code, and runs it.",
        "Have that code, from an author whom you trust; the weights can be read without it.",
    ),
    Rule(
        *("custom-function", "note", "config"),
        "A function that is not Keras's own: loading the model needs its code, and runs it.",
        "Have that code, from an author whom you trust; the weights can be read without it.",
    ),
    Rule(
        *("json-duplicate-key", "caution", "JSON"),
        "A key is there twice, so that two readers can see two different configs; both were "
        "scanned.",
        "Ask for a file that was written by Keras.",
    ),
    Rule(
        *("json-huge-number", "note", "JSON"),
        "A whole number of more digits than any config needs, which some readers take long for.",
        "Ask for a file that was written by Keras.",
    ),
    Rule(
        *("terminal-escape", "caution", "JSON"),
        "A name has characters that a terminal obeys, or that turn the order of a text around.",
        "Do not print the names of this file as they are; Steelyard shows them escaped.",
    ),
    Rule(
        *("pickle-dangerous-global", "danger", "pickle"),
        "The pickle uses a name through which any code can run.",
        _PICKLE,
        ("CVE-2025-32434",),
    ),
    Rule(
        *("pickle-global", "caution", "pickle"),
        "The pickle uses a name that is no part of tensors, arrays and plain containers: code "
        "of that library or author runs.",
        _PICKLE,
        ("CVE-2025-32434",),
    ),
    Rule(
        *("pickle-opcode", "danger", "pickle"),
        "The pickle hides which name it uses: it is put together while it is loaded, or stands "
        "for a number in a registry.",
        _PICKLE,
        ("CVE-2025-32434",),
    ),
    Rule(
        *("pickle-trailing", "caution", "pickle"),
        "There are bytes after the end of the pickle that belong to nothing.",
        _PICKLE,
    ),
    Rule(
        *("object-array", "danger", "pickle"),
        "An array of Python objects is a pickle, which can run anything when it is loaded.",
        "Do not load it with allow_pickle=True.",
    ),
    Rule(
        *("torchscript", "danger", "pickle"),
        "The file holds a program of TorchScript, which runs when the model is called.",
        _WITHOUT,
        ("CVE-2025-32434",),
    ),
    Rule(
        *("hdf5-external-link", "danger", "HDF5"),
        "A link leads to another file, which loading the weights opens.",
        "Ask for a file whose weights are in it.",
        _LINKS,
    ),
    Rule(
        *("hdf5-external-storage", "danger", "HDF5"),
        "The values of a dataset are the bytes of another file, which loading the weights reads.",
        "Ask for a file whose weights are in it.",
        _LINKS,
    ),
    Rule(
        *("hdf5-virtual-dataset", "danger", "HDF5"),
        "A dataset is made up of others, of other files perhaps, which loading the weights opens.",
        "Ask for a file whose weights are in it.",
        _LINKS,
    ),
    Rule(
        *("hdf5-soft-link", "caution", "HDF5"),
        "A link by name stands where a weight or a group should be; Keras writes none.",
        "Ask for a file that was written by Keras.",
        _LINKS,
    ),
    Rule(
        *("hdf5-alias", "caution", "HDF5"),
        "One object has several names, as in a file that is made to look larger or endless.",
        "Ask for a file that was written by Keras.",
        _BOMBS,
    ),
    Rule(
        *("hdf5-bomb", "caution", "HDF5"),
        "A dataset declares far more bytes than are stored, and takes that much memory when read.",
        "Do not load it; sy.weights lists it without reading it.",
        _BOMBS,
    ),
    Rule(
        *("zip-path", "danger", "zip"),
        "The name of a member, or a link in the archive, leads out of the folder that it would "
        "be unpacked to.",
        "Do not unpack it.",
        _ZIP,
    ),
    Rule(
        *("zip-duplicate", "caution", "zip"),
        "Two members have one name, so that two readers can see two different files; all were "
        "scanned.",
        "Ask for a file that was written by one tool, once.",
        _ZIP,
    ),
    Rule(
        *("zip-overlap", "caution", "zip"),
        "The bytes of two members overlap, as in an archive that unpacks to far more than it is.",
        "Do not unpack it.",
        _ZIP,
    ),
    Rule(
        *("zip-mismatch", "caution", "zip"),
        "The directory of the archive and the header of a member contradict each other, so that "
        "two readers can see two different files.",
        "Ask for a file that was written by one tool, once.",
        _ZIP,
    ),
    Rule(
        *("zip-encrypted", "caution", "zip"),
        "A member is encrypted, so that no scanner can look into it.",
        "Ask for a file that is not encrypted.",
    ),
    Rule(
        *("zip-bomb", "caution", "zip"),
        "A member unpacks to far more bytes than it has.",
        "Do not unpack it.",
        _ZIP,
    ),
    Rule(
        *("zip-hidden", "caution", "zip"),
        "An archive follows after other bytes, or has a member that its directory does not list, "
        "so that two readers can see two different files.",
        "Ask for a file that was written by one tool, once.",
        _ZIP,
    ),
    Rule(
        *("graph-python", "danger", "graph"),
        "An operation of the TensorFlow graph calls Python.",
        "Do not load it.",
    ),
    Rule(
        *("graph-file", "danger", "graph"),
        "An operation of the TensorFlow graph reads or writes files when the model is called.",
        "Do not call it; the variables can be read with sy.weights.",
    ),
    Rule(
        *("graph-network", "danger", "graph"),
        "An operation of the TensorFlow graph talks to other machines when the model is called.",
        "Do not call it; the variables can be read with sy.weights.",
    ),
    Rule(
        *("program", "note", "file"),
        "A program beside the weights; loading the weights does not run it by itself.",
        "Do not run it unless you have read it.",
    ),
    Rule(
        *("unreadable", "unread", "reading"),
        "A part is damaged, or not as its kind should be, and was read no further than that.",
        "Get the file once more; if that does not help, ask its author.",
    ),
    Rule(
        *("limit", "unread", "reading"),
        "A part asks for more time, memory, depth or members than is allowed, and was not read "
        "to its end.",
        "If the file is honest, allow more time with --seconds, or scan its parts by themselves.",
    ),
    Rule(
        *("unknown-kind", "unread", "reading"),
        "A part whose kind is not known here, or that is packed in a way that is not read.",
        "Look at it with the tool that it is for, or unpack it and scan that.",
    ),
    Rule(
        *("link", "unread", "reading"),
        "A symbolic link in a folder, which was not followed.",
        "Scan what it leads to.",
    ),
)

RULES = {rule.code: rule for rule in _ROWS}
