import pytest

from steelyard.source import BlockSource, EditableSource, WeightSource

pytestmark = pytest.mark.no_keras


class Readable:
    def specs(self):
        return ()

    def read(self, address):
        raise NotImplementedError

    def stored(self, address):
        raise NotImplementedError


class Editable(Readable):
    def variable(self, address):
        raise NotImplementedError

    def assign(self, address, value):
        raise NotImplementedError


class InBlocks(Readable):
    def blocks(self, address, rows):
        raise NotImplementedError


def test_whoever_has_the_methods_is_a_source():
    assert isinstance(Readable(), WeightSource)
    assert not isinstance(Readable(), EditableSource)
    assert isinstance(Editable(), EditableSource)
    assert not isinstance(object(), WeightSource)
    assert isinstance(InBlocks(), BlockSource)
    assert not isinstance(Readable(), BlockSource)
