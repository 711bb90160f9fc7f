"""Files at URLs: the same weights as those of the file, and no more fetched than is read."""

import io
import json
import sys
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from tests.hostile import good

import steelyard as sy
from steelyard.checkpoints import write_safetensors
from steelyard.checkpoints._fetched import BLOCK
from steelyard.checkpoints._keras_files import open_hdf5_checkpoint
from steelyard.cli import main
from steelyard.errors import (
    CheckpointError,
    LimitError,
    MissingDependencyError,
    SteelyardError,
)
from steelyard.scanning import scan

pytestmark = pytest.mark.no_keras

FOLDERS = ("keras-folder", "orbax")  # and nothing but
FILES = [name for name in good.FORMATS if name not in FOLDERS]
COUNT, SHAPE = 12, (500, 500)
NBYTES = 4 * 500 * 500


def array(number):
    return np.random.default_rng(number).normal(size=SHAPE).astype("float32")


def same(one, other):
    assert one.addresses == other.addresses
    assert [*one.specs] == [*other.specs]
    for mine, theirs in zip(one, other, strict=True):
        assert np.array_equal(mine.numpy(), theirs.numpy())


@pytest.mark.parametrize("name", FILES)
def test_each_format_is_the_same_at_a_url(name, web, tmp_path):
    path = good.main_file(good.good(name, tmp_path))
    for file in path.parent.iterdir():
        web.put(f"a b/{file.name}", file.read_bytes())
    same(sy.weights(f"{web.url}/a b/{path.name}?key=1"), sy.weights(str(path)))
    assert all(asked[0].endswith("?key=1") for asked in web.asked)


@pytest.mark.parametrize("name", FILES)
def test_each_format_is_the_same_in_a_store(name, tmp_path):
    fsspec = pytest.importorskip("fsspec")
    path = good.main_file(good.good(name, tmp_path))
    memory = fsspec.filesystem("memory")
    for file in path.parent.iterdir():
        memory.pipe(f"/{name}/{file.name}", file.read_bytes())
    same(sy.weights(f"memory://{name}/{path.name}"), sy.weights(str(path)))


def test_a_file_url_is_a_path(tmp_path):
    (folder := tmp_path / "a b").mkdir()
    np.savez(folder / "x.npz", w=np.ones(3))
    assert sy.weights((folder / "x.npz").as_uri()).addresses == ("w",)
    with pytest.raises(SteelyardError, match="of this machine"):
        sy.weights("file://elsewhere/x.npz")
    with pytest.raises(CheckpointError, match="a file was expected"):
        sy.weights(Path("/dev/zero").as_uri())


# --- How much is fetched --------------------------------------------------------------------------


def safetensors(folder):
    sy.convert(folder / "source.npz", folder / "x.safetensors")
    return folder / "x.safetensors"


def in_shards(folder):
    where = {}
    for number in range(0, COUNT, 4):
        name = f"part-{number}.safetensors"
        names = [f"w{n}" for n in range(number, number + 4)]
        sy.convert(folder / "source.npz", folder / name, select=names)
        where |= dict.fromkeys(names, name)
    path = folder / "x.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": where}))
    return path


def stored(folder):
    return folder / "source.npz"


def hdf5(packed=False):
    out, told = io.BytesIO(), dict(chunks=(100, 500), compression=1) if packed else {}
    with h5py.File(out, "w") as file:
        for number in range(COUNT):
            file.create_dataset(f"layers/l{number}/vars/0", data=array(number), **told)
    return out.getvalue()


def weights_h5(folder):
    (folder / "x.weights.h5").write_bytes(hdf5())
    return folder / "x.weights.h5"


def chunked(folder):
    (folder / "x.weights.h5").write_bytes(hdf5(True))
    return folder / "x.weights.h5"


def keras(folder):
    (folder / "x.keras").write_bytes(good.keras(b"{}", hdf5()))
    return folder / "x.keras"


def tensorflow(folder):
    data = b"".join(array(number).tobytes() for number in range(COUNT))
    rows = [
        good.row(f"w{n:02}/kernel", shape=SHAPE, offset=n * NBYTES, size=NBYTES, crc=0)
        for n in range(COUNT)
    ]
    return good.bundle(folder, rows, data)


@pytest.mark.parametrize(
    "make", [safetensors, in_shards, stored, weights_h5, chunked, keras, tensorflow]
)
def test_no_more_is_fetched_than_is_read(make, web, tmp_path, monkeypatch):
    monkeypatch.setattr("steelyard.checkpoints._bundle._CHECKED", 0)  # sums of our own making
    monkeypatch.setattr("steelyard.checkpoints._bundle.is_quick", lambda: False)
    np.savez(tmp_path / "source.npz", **{f"w{n}": array(n) for n in range(COUNT)})
    path = make(tmp_path)
    for file in tmp_path.iterdir():
        web.put(file.name, file.read_bytes())
    found = sy.weights(f"{web.url}/{path.name}")
    assert len(found) == COUNT
    # A block for each place that tells of weights; npz and HDF5 tell of each beside it.
    assert web.sent <= (COUNT + 6) * BLOCK < COUNT * NBYTES / 8
    web.forget()
    address = found.addresses[7]
    assert np.array_equal(found[address].numpy(), sy.weights(path)[address].numpy())
    assert web.sent <= NBYTES + 3 * BLOCK


def test_what_is_packed_is_fetched_by_itself(web, tmp_path):
    np.savez_compressed(tmp_path / "x.npz", **{f"w{n}": array(n) for n in range(COUNT)})
    found = sy.weights(web.put("x.npz", (tmp_path / "x.npz").read_bytes()))
    assert web.sent <= 2 * (COUNT + 2) * BLOCK
    web.forget()
    assert np.array_equal(found["w7"].numpy(), array(7))
    assert web.sent <= NBYTES + 2 * BLOCK


def test_one_block_after_the_other_within_a_budget(web, tmp_path):
    np.save(tmp_path / "x.npy", array(1))
    url = web.put("x.npy", (tmp_path / "x.npy").read_bytes())
    got = sy.measure(url, "norms", max_memory="200 KB", engine="serial")
    assert got["arr_0", "l2_norm"].value == pytest.approx(np.linalg.norm(array(1)))
    assert max(last - first for _, first, last, _ in web.asked) < 200_000


def test_many_shards_at_a_url(web, tmp_path):
    for number in range(200):
        arrays = [np.full((2, 2), number, "float32")]
        write_safetensors(tmp_path / f"{number}.safetensors", [f"w{number}"], arrays)
        path = tmp_path / f"{number}.safetensors"
        web.put(path.name, path.read_bytes())
    text = json.dumps({"weight_map": {f"w{n}": f"{n}.safetensors" for n in range(200)}}).encode()
    url = web.put("x.safetensors.index.json", text)
    now, most = [], []

    def slow(handler, first, last):
        now.append(handler)
        most.append(len(now))
        time.sleep(0.01)
        now.remove(handler)

    web.change = slow
    found = sy.weights(url)
    assert max(most) > 1  # several at a time
    assert found["w3"].numpy().tolist() == [[3, 3], [3, 3]]
    web.put("4.safetensors", web.files["5.safetensors"])
    with pytest.raises(CheckpointError, match="was changed while it was read"):
        found["w4"].numpy()


def test_hdf5_whose_bytes_end_says_why(web):
    """The process that parses it gets no more; the error is that of the server."""
    url = web.put("x.weights.h5", hdf5(True))

    def gone(handler, first, last):
        if first:
            handler.tell(404)
        return first > 0

    web.change = gone
    with pytest.raises(CheckpointError, match=r"x.weights.h5: there is no such file: .* 404"):
        sy.weights(url)


def test_hdf5_that_takes_long_to_fetch_and_not_to_parse(web, monkeypatch):
    url = web.put("x.weights.h5", hdf5(True))
    web.change = lambda *_: time.sleep(0.4)
    source = open_hdf5_checkpoint(url, seconds=4.0)
    assert len(source.specs()) == COUNT
    assert len(web.asked) > 10  # more than 4 seconds in all
    source.close()
    monkeypatch.setattr("steelyard.checkpoints._worker._MOST_WAITING", 0.5)
    with pytest.raises(LimitError, match="takes longer than"):
        open_hdf5_checkpoint(url, seconds=1.0)


# --- What a file names ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["http://{}/x.safetensors", "//{}/x.safetensors", "../x.safetensors", "..%2fx.safetensors"],
)
@pytest.mark.parametrize("store", ["web", "memory"])
def test_an_index_names_files_beside_it_and_nothing_else(name, store, web, tmp_path):
    name = name.format(web.url[7:])
    text = json.dumps({"weight_map": {"a.w": name}}).encode()
    web.put("x.safetensors", good.tensors("a.w"))
    url = web.put("in/x.safetensors.index.json", text)
    if store == "memory":
        fsspec = pytest.importorskip("fsspec")
        fsspec.filesystem("memory").pipe("/in/x.safetensors.index.json", text)
        url = "memory://in/x.safetensors.index.json"
    with pytest.raises(CheckpointError, match=r"no plain name|there is no such file"):
        sy.weights(url)
    assert {asked[0] for asked in web.asked} <= {
        "in/x.safetensors.index.json",
        "in/..%252fx.safetensors",  # a name like any other, as a file beside it
    }


def test_the_map_of_shards_of_keras_names_files_beside_it(web):
    for name in ("http://127.0.0.1/x.h5", "../x.h5"):
        text = json.dumps({"weight_map": {"/layers": name}}).encode()
        with pytest.raises(CheckpointError, match="would lie in another folder"):
            sy.weights(web.put("in/x.weights.json", text))
    assert {asked[0] for asked in web.asked} == {"in/x.weights.json"}


# --- Secrets, and what is missing -----------------------------------------------------------------


def test_what_is_secret_is_sent_and_not_shown(web, tmp_path):
    np.savez(tmp_path / "x.npz", w=array(0))
    url = web.put("x.npz", (tmp_path / "x.npz").read_bytes())
    url = url.replace("//", "//me:hidden%21@") + "?sig=hidden"
    readings = sy.measure(url, "l2_norm")
    assert readings.info["source"] == f"http://***@{web.url[7:]}/x.npz?***"
    assert {asked[0] for asked in web.asked} == {"x.npz?sig=hidden"}
    assert {asked[3] for asked in web.asked} == {"Basic bWU6aGlkZGVuIQ=="}
    for verb in ("list", "scan"):
        assert "hidden" not in CliRunner().invoke(main, [verb, url, "--json"]).output
    with pytest.raises(CheckpointError) as caught:
        sy.weights(url.replace("x.npz", "y.npz"))
    assert "hidden" not in str(caught.value) and "404" in str(caught.value)


def test_a_package_that_a_store_needs(monkeypatch):
    pytest.importorskip("fsspec")
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(MissingDependencyError, match="pip install s3fs"):
        sy.weights("s3://bucket/x.safetensors")
    with pytest.raises(CheckpointError, match="no store is known"):
        sy.weights("nowhere://bucket/x.safetensors")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'steelyard\[remote\]'"):
        sy.weights("memory://x.safetensors")


def test_a_file_in_a_store_that_changes(tmp_path):
    memory = pytest.importorskip("fsspec").filesystem("memory")
    memory.pipe("/change/x.npy", good.npy(array(0)))
    found = sy.weights("memory://change/x.npy")
    memory.pipe("/change/x.npy", good.npy(array(1)))
    with pytest.raises(CheckpointError, match="was changed while it was read"):
        found.one().numpy()
    memory.rm("/change/x.npy")
    with pytest.raises(CheckpointError, match="there is no such file"):
        sy.weights("memory://change/x.npy")
    memory.pipe("/change/x.keras/config.json", b"{}")
    with pytest.raises(CheckpointError, match="copy it here first"):
        sy.weights("memory://change/x.keras")


# --- All that is done with files ------------------------------------------------------------------


def test_measured_by_processes_that_fetch_for_themselves(web, tmp_path):
    url = web.put("x.weights.h5", hdf5(True))
    (tmp_path / "x.weights.h5").write_bytes(hdf5(True))
    got = sy.measure(url, "norms", engine="processes", workers=2)
    assert [*got] == [*sy.measure(tmp_path / "x.weights.h5", "norms", engine="serial")]


def test_diff_convert_and_scan(web, tmp_path):
    np.savez(tmp_path / "x.npz", a=array(0), b=array(1))
    np.savez(tmp_path / "y.npz", a=array(0), b=array(2))
    one, two = (web.put(n, (tmp_path / n).read_bytes()) for n in ("x.npz", "y.npz"))
    assert [change.address for change in sy.diff(one, two).changed] == ["b"]
    sy.convert(one, tmp_path / "z.npz")
    same(sy.weights(tmp_path / "z.npz"), sy.weights(tmp_path / "x.npz"))
    assert scan(one).status == "clean"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Lambda"}))
        archive.writestr("model.weights.h5", hdf5())
    assert scan(web.put("z.keras", out.getvalue())).files[f"{web.url}/z.keras"]


def test_the_command_line(web, tmp_path):
    np.savez(tmp_path / "x.npz", a=array(0))
    url = web.put("x.npz", (tmp_path / "x.npz").read_bytes())
    run = CliRunner().invoke
    assert "a        (500, 500)" in run(main, ["list", url]).output
    assert run(main, ["measure", url, "--metrics", "l2_norm"]).exit_code == 0
    assert run(main, ["diff", url, str(tmp_path / "x.npz")]).exit_code == 0
    assert run(main, ["scan", url]).exit_code == 0
    gone = run(main, ["list", f"{web.url}/y.npz"])
    assert gone.exit_code == 2 and "there is no such file" in gone.stderr
    page = tmp_path / "page.html"
    assert run(main, ["report", url, "--out", str(page)]).exit_code == 0 and page.exists()
