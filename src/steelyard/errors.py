"""Every error that Steelyard raises on purpose.

::

    SteelyardError(ValueError)
    ├── AddressError            an address or pattern that matches nothing, or too much
    │   ├── UnknownAddressError     nothing there; names the nearest
    │   ├── AmbiguousAddressError   several there; lists them
    │   └── PatternError            the pattern itself cannot be read
    ├── BorrowError             a reference that cannot be read
    │   ├── TargetError             what was handed to `ref` is nothing that holds a weight
    │   ├── UnbuiltOwnerError       the owner exists but has no weights yet
    │   ├── UnboundReferenceError   the owner has not been found (yet)
    │   └── ForeignOwnerError       the owner is not part of the model that reads it
    ├── SubstituteError         a weight that cannot be tied, parametrized, penalized or baked
    ├── ParametrizationError    a parametrization that makes no sense as it was asked for
    ├── CopyError               weights that cannot be copied as asked; says which and why
    ├── SharingError            sharing that a file or a clone cannot carry
    ├── ShapeMismatchError      two shapes that must fit and do not; says both
    ├── QuantizationError       a quantization that we cannot undo; never codes as values
    ├── UnknownMetricError      a metric that is not in the catalog; names the nearest
    ├── FindingError            training was to end at a finding, and did; says what and where
    ├── SourceError             something without weights was handed in as a source
    ├── CheckpointError         a file that cannot be read as a checkpoint; says what and where
    │   └── LimitError              it asks for more than is allowed: memory, time, depth, count
    └── MissingDependencyError  an optional package is not installed; says the command

The root derives from `ValueError` because Keras re-raises a `ValueError` as it is and turns most
others into a `RuntimeError` (`Trainer._symbolic_build`); and every class here is built from one
string, because Keras and TensorFlow rebuild an exception from its message to add where it happened.
"""


class SteelyardError(ValueError):
    """The root of all errors of this package."""


class AddressError(SteelyardError):
    """An address or pattern does not name what was asked for."""


class UnknownAddressError(AddressError):
    """Nothing has this address."""


class AmbiguousAddressError(AddressError):
    """Several weights fit where one was asked for."""


class PatternError(AddressError):
    """A pattern that cannot be read."""


class BorrowError(SteelyardError):
    """A reference cannot give its value."""


class TargetError(BorrowError):
    """The target of a reference is not a layer, a layer's output, a variable or an address."""


class UnbuiltOwnerError(BorrowError):
    """The layer that owns the weight has not created it yet."""


class UnboundReferenceError(BorrowError):
    """The layer that owns the weight has not been found."""


class ForeignOwnerError(BorrowError):
    """The layer that owns the weight is not part of the model that reads it."""


class SubstituteError(SteelyardError):
    """A weight cannot be tied, parametrized, penalized or baked as asked."""


class ParametrizationError(SteelyardError):
    """A parametrization, or an argument of one, makes no sense."""


class CopyError(SteelyardError):
    """Weights cannot be copied as asked."""


class SharingError(SteelyardError):
    """Something is shared in a way that a file, or a clone, cannot carry."""


class ShapeMismatchError(SteelyardError):
    """Two shapes do not fit."""


class QuantizationError(SteelyardError):
    """A quantized weight whose float value cannot be worked out."""


class UnknownMetricError(SteelyardError):
    """There is no metric of this name."""


class FindingError(SteelyardError):
    """`Monitor` was asked to raise where something goes wrong in training, and it did."""


class SourceError(SteelyardError):
    """An object that holds no weights was given where a source of weights was expected."""


class CheckpointError(SteelyardError):
    """A file that cannot be read as a checkpoint.

    The message may have names in it that somebody else chose: what a terminal would not print as a
    character is escaped.
    """

    def __init__(self, message: str = "") -> None:
        escaped = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)
        super().__init__("".join(escaped))


class LimitError(CheckpointError):
    """A file that asks for more memory, time, depth or members than is allowed."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C ended a measurement.

    Args:
        readings: What had been measured until then.
    """

    def __init__(self, readings: object) -> None:
        super().__init__("Interrupted; what is done is in `readings` of this exception.")
        self.readings = readings


class MissingDependencyError(SteelyardError, ImportError):
    """An optional package is not installed."""
