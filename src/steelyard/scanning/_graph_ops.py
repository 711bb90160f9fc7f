"""The operations of TensorFlow that do more than compute, by their names."""

from __future__ import annotations

_PYTHON = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}
_FILE_TEXT = """
    ReadFile WriteFile MatchingFiles MatchingFilesDataset DeleteFile CopyFile RenameFile
    ImmutableConst WholeFileReader WholeFileReaderV2 TextLineReader TextLineReaderV2
    FixedLengthRecordReader FixedLengthRecordReaderV2 TFRecordReader TFRecordReaderV2 LMDBReader
    TextLineDataset TFRecordDataset TFRecordDatasetV2 FixedLengthRecordDataset
    FixedLengthRecordDatasetV2 LMDBDataset ExperimentalLMDBDataset SqlDataset
    ExperimentalSqlDataset CSVDataset CSVDatasetV2 ExperimentalCSVDataset CacheDataset
    CacheDatasetV2 SnapshotDataset SnapshotDatasetV2 SaveDataset SaveDatasetV2 LoadDataset
    DatasetToTFRecord ExperimentalDatasetToTFRecord CreateSummaryFileWriter
    CreateSummaryDbWriter DebugIdentity DebugIdentityV2 DebugIdentityV3 DebugNumericSummaryV2
    DebugNanCount
"""
_FILE = frozenset(_FILE_TEXT.split())
_NETWORK_TEXT = """
    RemoteCall RegisterDataset RegisterDatasetV2 DataServiceDataset DataServiceDatasetV2
    DataServiceDatasetV3 DataServiceDatasetV4 RpcCall RpcClient RpcServer RpcServerStart TryRpc
    Rpc BigQueryReader CloudBigtableClient
"""
_NETWORK = frozenset(_NETWORK_TEXT.split())


def kind_of(op: str) -> str:
    """The code of the rule that an operation is for; "" for one that only computes.

    What a checkpoint is saved and restored with is in every SavedModel, and is left out.
    """
    if op in _PYTHON:
        return "graph-python"
    if op in _FILE:
        return "graph-file"
    return "graph-network" if op in _NETWORK else ""
