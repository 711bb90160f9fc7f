"""The names that a pickle of tensors, arrays and plain containers uses, and those to fear."""

from __future__ import annotations

import re

from steelyard.scanning._keras_known import is_dangerous_module

_HARMLESS_TEXT = """
    argparse.Namespace types.SimpleNamespace collections.Counter collections.OrderedDict
    collections.defaultdict collections.deque _codecs.encode copyreg._reconstructor
    copy_reg._reconstructor datetime.date datetime.datetime datetime.timedelta datetime.timezone
    decimal.Decimal fractions.Fraction pathlib.PurePosixPath pathlib.PosixPath
    pathlib.WindowsPath uuid.UUID numpy.ndarray numpy.dtype numpy.core.multiarray._reconstruct
    numpy.core.multiarray.scalar numpy._core.multiarray._reconstruct
    numpy._core.multiarray.scalar numpy.core.numeric._frombuffer numpy._core.numeric._frombuffer
    torch.Size torch.Tensor torch.device torch.dtype torch.nn.parameter.Parameter
    torch.nn.parameter.Buffer torch.serialization._get_layout
    torch._tensor._rebuild_from_type_v2 torch.storage.UntypedStorage torch.storage.TypedStorage
    joblib.numpy_pickle.NumpyArrayWrapper ml_dtypes.bfloat16
"""
_HARMLESS = frozenset(_HARMLESS_TEXT.split())
_PLAIN = (
    "bool|bytearray|bytes|complex|dict|float|frozenset|int|list|object|range|set|slice|str|tuple"
)
_PATTERNS = re.compile(
    rf"(?:builtins|__builtin__)\.(?:{_PLAIN}|tuple|long|unicode|xrange)"
    r"|torch\.(?:[A-Z][A-Za-z0-9]*Storage|b?float\d+(?:_\w+)?|[uq]?u?int\d+(?:x\d+)?|bool"
    r"|complex\d+|per_(?:tensor|channel)_\w+|strided|sparse_\w+)"
    r"|torch\._utils\._rebuild_(?:\w+)"
    r"|numpy\.(?:float\d+|u?int\d+|complex\d+|bool_?|str_|bytes_|void|datetime64|timedelta64)"
    r"|numpy\.dtypes\.\w+DType"
    r"|numpy\.random\._pickle\.\w+"
)
# Classes that hold numbers, in libraries that can also load and run.
_CLASSES = re.compile(r"(?:torch|numpy|jax|tensorflow)\.(?:\w+\.)*[A-Z]\w*")
_MILDER = ("sklearn", "scipy", "pandas", "xgboost", "lightgbm")


def code_of(module: str, name: str) -> str:
    """The code of the rule that a name is for; "" for one that is harmless."""
    whole = f"{module}.{name}"
    if whole in _HARMLESS or _PATTERNS.fullmatch(whole):
        return ""
    if _CLASSES.fullmatch(whole) or module.split(".")[0] in _MILDER:
        return "pickle-global"
    dangerous = is_dangerous_module(module) or module.split(".")[0] in _PYTHON2
    return "pickle-dangerous-global" if dangerous else "pickle-global"


# Modules that only Python 2 had; the names in a pickle of an old protocol are translated.
_PYTHON2 = ("__builtin__", "commands", "urllib2", "httplib", "cPickle", "dummy_thread")
