"""A `.keras` of more than 4 GB: its sizes and places take the 64-bit fields of the archive."""

import io
import json
import zipfile

import h5py
import numpy as np
import pytest

import steelyard as sy

pytestmark = pytest.mark.no_keras

ROWS, COLUMNS = 1_100_000, 1024  # 4.5 GB in float32, of which the disk keeps a few pages


class Beyond(io.RawIOBase):
    """A file from a place on, as a file of its own."""

    def __init__(self, file, start):
        self.file, self.start = file, start

    def readable(self):
        return True

    def writable(self):
        return True

    def seekable(self):
        return True

    def seek(self, offset, whence=0):
        return self.file.seek(offset + (self.start if whence == 0 else 0), whence) - self.start

    def tell(self):
        return self.file.tell() - self.start

    def readinto(self, target):
        return self.file.readinto(target)

    def write(self, data):
        return self.file.write(data)

    def truncate(self, size=None):
        return self.file.truncate(None if size is None else size + self.start)


def made(path, config):
    """Headers as the zipfile module writes them, around values that are never written."""
    info = zipfile.ZipInfo("model.weights.h5")
    with path.open("w+b") as file, zipfile.ZipFile(file, "w") as archive:
        info.CRC, info.file_size, info.compress_size = 0, 2**33, 2**33
        start = file.write(info.FileHeader(zip64=True))
        file.flush()
        with h5py.File(Beyond(file, start), "w") as weights:
            weights.create_group("layers/dense/vars").attrs["name"] = "table"
            table = weights["layers/dense/vars"].create_dataset("0", (ROWS, COLUMNS), "float32")
            table[-1] = np.arange(COLUMNS)
            table[0, 0] = 7
        end = file.seek(0, 2)
        info.file_size = info.compress_size = end - start
        file.seek(0)
        file.write(info.FileHeader(zip64=True))
        info.header_offset = 0
        archive.filelist.append(info)
        archive.NameToInfo[info.filename] = info
        archive.start_dir = end
        archive.writestr("config.json", json.dumps(config))
    return path


def test_its_weights_are_listed_and_read(tmp_path):
    dense = {"name": "table", "units": COLUMNS, "use_bias": False, "trainable": True}
    layer = {"module": "keras.layers", "class_name": "Dense", "config": dense}
    config = {"layers": [{**layer, "registered_name": None}]}
    config = {"module": "keras", "class_name": "Sequential", "config": config}
    path = made(tmp_path / "x.keras", config)
    assert path.stat().st_size > 2**32
    (weight,) = sy.weights(path)
    assert weight.address == "table/kernel"
    assert weight.shape == (ROWS, COLUMNS)
    assert "inferred" not in repr(sy.weights(path))
