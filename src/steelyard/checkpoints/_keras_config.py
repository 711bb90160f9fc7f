"""What a config says of a layer, as text: no class that it names is ever looked for."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from steelyard.checkpoints._leaf_table import known


@dataclass(frozen=True, slots=True)
class Made:
    """A layer as its config describes it, or as far as the file's names tell.

    Args:
        kind: The name of its class; "" where nothing says.
        config: Its arguments; None where they are not known.
        build: What it was built with: `{"input_shape": …}`.
        sure: Whether a config says so, rather than a name that Keras may have made.
        own: Whether the class is one of Keras's own.
        axes: Of its kernel, where its place in another layer says more than its config.
    """

    kind: str = ""
    config: dict[str, Any] | None = None
    build: dict[str, Any] = field(default_factory=dict)
    sure: bool = False
    own: bool = False
    axes: str = ""

    @property
    def trainable(self) -> bool | None:
        """Whether it is to be trained; None where nothing says."""
        said = (self.config or {}).get("trainable")
        return said if isinstance(said, bool) else None

    @property
    def mode(self) -> str | None:
        """Of quantization: `"int8"`; "" where there is none, None where nothing says."""
        return None if self.config is None else _mode(self.config.get("dtype"))

    @property
    def layers(self) -> list[dict[str, Any]] | None:
        """The configs of the layers of a Functional or Sequential model."""
        held = (self.config or {}).get("layers")
        if isinstance(held, list) and all(isinstance(x, dict) and "class_name" in x for x in held):
            return held
        return None


def made(config: Any, sure: bool = True) -> Made:
    """The layer of a serialized config, `{"class_name": …, "config": …}`."""
    if not isinstance(config, dict) or not isinstance(config.get("class_name"), str):
        return Made()
    inner, build = config.get("config"), config.get("build_config")
    inner = {"layers": inner} if isinstance(inner, list) else inner  # Sequential, Keras 2.2
    found = inner if isinstance(inner, dict) else None
    build = build if isinstance(build, dict) else {}
    original = _original(config, found)
    return Made(original["class_name"], found, build, sure, _is_own(original))


def _original(config: dict[str, Any], inner: dict[str, Any] | None) -> dict[str, Any]:
    """Of a layer that Steelyard has rewritten, the class that it was made of."""
    if config.get("registered_name") != "steelyard>Rewritten":
        return config
    said = (inner or {}).get("steelyard")
    kind = said.get("class") if isinstance(said, dict) else None
    right = isinstance(kind, dict) and isinstance(kind.get("class_name"), str)
    return kind if right else config  # type: ignore[return-value]


# Steelyard's layers that have weights; the table knows them as it knows Keras's own.
_OURS = ("steelyard>TiedDense",)


def name_of(config: dict[str, Any]) -> str:
    """The name of a layer that is described; "" where it has none."""
    inner = config.get("config")
    held = (inner.get("name") if isinstance(inner, dict) else None) or config.get("name")
    return held if isinstance(held, str) else ""


def snake(kind: str) -> str:
    """The key that Keras makes of the name of a class."""
    kind = re.sub(r"\W+", "", kind)
    kind = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", kind)
    return re.sub("([a-z])([A-Z])", r"\1_\2", kind).lower()


def _is_own(config: dict[str, Any]) -> bool:
    """Whether the class is Keras's own, and none of that name from elsewhere."""
    module, registered = config.get("module"), config.get("registered_name")
    if registered in _OURS:
        return True
    if isinstance(registered, str) and ">" in registered:
        return False
    if module is None:  # Keras 2 wrote none
        return config["class_name"] in known() and "module" not in config
    return isinstance(module, str) and module.split(".")[0] in ("keras", "tf_keras")


def _mode(policy: Any) -> str:
    """Of a dtype policy: `{"config": {"mode": "int4/128", …}}` or `"int8_from_float32"`."""
    if isinstance(policy, dict):
        inner = policy.get("config")
        inner = inner if isinstance(inner, dict) else {}
        policy = inner.get("mode") or inner.get("name") or ""
        if isinstance(policy, str) and "mode" in inner:
            return policy.split("/")[0]
    if isinstance(policy, str) and "_from_" in policy:
        return policy.split("_from_")[0].split("/")[0]
    return ""
