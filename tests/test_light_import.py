"""`import steelyard` costs nothing until a name is used."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.no_keras

HEAVY = ("keras", "tensorflow", "jax", "torch", "rich", "click", "h5py", "numpy")


def fresh(code: str) -> str:
    """What `code` prints in a new interpreter."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    "first", ["", "steelyard.SteelyardError", "steelyard.errors", "dir(steelyard)"]
)
def test_import_is_light(first):
    loaded = fresh(
        f"import sys, steelyard\n{first}\n"
        f"print(*(name for name in {HEAVY!r} if name in sys.modules))"
    )
    assert loaded == ""


def test_import_loads_no_room():
    assert (
        fresh("import sys, steelyard; print(*(m for m in sys.modules if 'steelyard.' in m))")
        == "steelyard.registration"
    )


def test_dir_lists_the_public_names():
    names = fresh("import steelyard; print(*dir(steelyard))").split()
    assert names == sorted(names)
    assert {"weights", "ref", "bind", "layers", "SteelyardError", "__version__"} <= set(names)
    assert not [name for name in names if name.startswith("_") and not name.startswith("__")]


@pytest.mark.parametrize(("typo", "meant"), [("wieghts", "weights"), ("layer", "layers")])
def test_unknown_name_suggests_the_nearest(typo, meant):
    import steelyard

    with pytest.raises(AttributeError, match=rf"no attribute '{typo}'.*Did you mean.*'{meant}'"):
        getattr(steelyard, typo)


def test_name_far_from_all_gets_no_suggestion():
    import steelyard

    with pytest.raises(AttributeError, match=r"no attribute 'zzzzzz'\.$"):
        _ = steelyard.zzzzzz
