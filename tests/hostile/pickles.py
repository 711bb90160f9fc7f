"""Pickles that would run something, by each of the ways that scanners have missed."""

import io
import tarfile
from collections.abc import Iterator

import numpy as np
from tests.hostile.case import CANARY, RUNS, Case, Listed, Refused, written
from tests.hostile.good import KERNEL, M, npy, npz, pt, state_dict, tensor, text


def _short(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


def _call(module: str, name: str, argument: str) -> bytes:
    return f"c{module}\n{name}\n".encode() + b"(" + text(argument) + b"tR"


EXEC = _call("builtins", "exec", RUNS)

PAYLOADS = {
    "global": b"\x80\2" + EXEC + b".",
    "os-system": b"\x80\2" + _call("posix", "system", f"echo ran > {CANARY}") + b".",
    "stack-global": b"\x80\4"
    + _short("builtins")
    + _short("exec")
    + b"\x93("
    + text(RUNS)
    + b"tR.",
    "names-from-memo": b"\x80\4"
    + (_short("builtins") + b"\x940" + _short("exec") + b"\x940h\0h\1\x93(" + text(RUNS) + b"tR."),
    "inst": b"(S" + repr(RUNS).encode() + b"\nibuiltins\nexec\n.",
    "obj": b"\x80\2(cbuiltins\nexec\n" + text(RUNS) + b"o.",
    "newobj": b"\x80\2cbuiltins\nmap\n(cbuiltins\nexec\n]"
    + text(RUNS)
    + b"at\x81"
    + b"q\0cbuiltins\nlist\n(h\0tR.",
    "protocol-0": b"cbuiltins\nexec\n(V" + RUNS.encode() + b"\ntR.",
    "in-a-state-dict": state_dict(("a", tensor()), ("b", EXEC)),
    "then-broken": b"\x80\2" + EXEC + b"\xff",
    "never-stops": b"\x80\2" + EXEC,
    "nested": b"\x80\2" + b"c_pickle\nloads\n(" + b"C" + bytes([0]) + b"tR" + EXEC + b".",
    "runpy": b"\x80\2" + _call("runpy", "_run_code", RUNS) + b"0" + EXEC + b".",
    "submodule": b"\x80\2" + _call("torch._utils", "exec", RUNS) + b"0" + EXEC + b".",
    "dotted": b"\x80\4"
    + _short("builtins")
    + _short("exec.__call__")
    + b"\x93("
    + text(RUNS)
    + b"tR.",
    "extension": b"\x80\2\x82\1(" + text(RUNS) + b"tR0" + EXEC + b".",
    "build": b"\x80\2ccollections\nOrderedDict\n)R}" + text("__reduce__") + EXEC + b"sb.",
}
# Those that Python alone does not run to the end.
IDLE = ("in-a-state-dict", "runpy", "nested", "submodule", "dotted", "extension")


class _Runs:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, (RUNS,)


def pickles() -> Iterator[Case]:
    end = Refused()
    for what, payload in PAYLOADS.items():
        yield Case("pickle", "pt", what, written("x.pt", pt(payload)), end)
        yield Case("pickle", "pt", f"bare-{what}", written("x.pt", payload), end)
    honest = state_dict(("a", tensor()))
    beside = M("archive/constants.pkl", PAYLOADS["global"])
    yield Case("pickle", "pt", "beside", written("x.pt", pt(honest, beside)), Listed(1))
    twice = pt(honest, M("other/data.pkl", PAYLOADS["global"]))
    yield Case("pickle", "pt", "two-pickles", written("x.pt", twice), Refused("torch.save"))
    yield Case("pickle", "pt", "tar", written("x.pt", _tar()), end)
    old = b"\x80\2\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + b"\x80\2M\xe9\3." + PAYLOADS["global"]
    yield Case("pickle", "pt", "before-1.6", written("x.pt", old), Refused("before 1.6"))
    objects = np.array([_Runs()], dtype=object)
    fields = np.zeros(1, [("a", "O"), ("b", "<f4")])
    for what, array in (("objects", objects), ("fields", fields)):
        data = npy(array)
        ours = Refused("Python objects")
        yield Case("pickle", "npy", what, written("x.npy", data), ours)
        zipped = npz(M("b.npy", data), a=KERNEL)
        yield Case("pickle", "npz", what, written("x.npz", zipped), ours)
    bare = npz(M("b.npy", PAYLOADS["global"]), a=KERNEL)
    yield Case("pickle", "npz", "bare", written("x.npz", bare), Refused("no npy array"))
    yield Case("pickle", "npy", "bare", written("x.npy", PAYLOADS["global"]), end)


def _tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        info = tarfile.TarInfo("pickle")
        info.size = len(PAYLOADS["global"])
        file.addfile(info, io.BytesIO(PAYLOADS["global"]))
    return out.getvalue()
