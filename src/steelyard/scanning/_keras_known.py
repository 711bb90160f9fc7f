"""What a config may name without needing anything but Keras, and where danger is near."""

from __future__ import annotations

import re
import sys

# Functions that Keras saves by their names: activations, losses and metrics; and those of old.
_FUNCTIONS_TEXT = """
    binary_accuracy binary_crossentropy binary_focal_crossentropy categorical_accuracy
    categorical_crossentropy categorical_focal_crossentropy
    categorical_generalized_cross_entropy categorical_hinge celu circle concordance_correlation
    cosine_similarity ctc dice elu exponential gelu glu hard_shrink hard_sigmoid hard_silu
    hard_swish hard_tanh hinge huber kl_divergence leaky_relu linear log_cosh log_sigmoid
    log_softmax mean_absolute_error mean_absolute_percentage_error mean_squared_error
    mean_squared_logarithmic_error mish pearson_correlation poisson relu relu6 selu sigmoid silu
    soft_shrink softmax softplus softsign sparse_categorical_accuracy
    sparse_categorical_crossentropy sparse_plus sparse_sigmoid sparse_top_k_categorical_accuracy
    sparsemax squared_hinge squareplus swish tanh tanh_shrink threshold
    top_k_categorical_accuracy tversky accuracy cosine_proximity crossentropy huber_loss kld
    kullback_leibler_divergence logcosh mae mape mse msle MAE MAPE MSE MSLE KLD
"""
FUNCTIONS = frozenset(_FUNCTIONS_TEXT.split())
# Modules of Keras whose functions are activations, losses, metrics or plain computations.
FUNCTION_MODULES = re.compile(
    r"(?:tf_)?keras\.(?:src\.)?(?:activations|losses|metrics|ops|initializers|regularizers"
    r"|constraints)(?:\.\w+)*"
)

# Classes by the names that Keras 2 wrote without their modules, and functions in their places.
_OLD_CLASSES_TEXT = """
    AUC Accuracy Activation ActivityRegularization Adadelta Adagrad Adam AdamW Adamax Add
    AdditiveAttention AlphaDropout Attention Average AveragePooling1D AveragePooling2D
    AveragePooling3D BatchNormalization BatchNormalizationV1 BatchNormalizationV2 Bidirectional
    BinaryAccuracy BinaryCrossentropy CategoricalAccuracy CategoricalCrossentropy
    CategoryEncoding CenterCrop Concatenate Constant Conv1D Conv1DTranspose Conv2D
    Conv2DTranspose Conv3D Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D Convolution1D
    Convolution2D Convolution3D CosineDecay CosineSimilarity Cropping1D Cropping2D Cropping3D
    CuDNNGRU CuDNNLSTM Dense DenseFeatures DepthwiseConv1D DepthwiseConv2D Discretization Dot
    Dropout ELU EinsumDense Embedding ExponentialDecay Flatten Ftrl Functional GRU GRUCell
    GaussianDropout GaussianNoise GlobalAveragePooling1D GlobalAveragePooling2D
    GlobalAveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D GlorotNormal
    GlorotUniform GroupNormalization Hashing HashedCrossing HeNormal HeUniform Hinge Huber
    Identity InputLayer InputSpec IntegerLookup InverseTimeDecay KLDivergence L1 L1L2 L2 LSTM
    LSTMCell Lambda LayerNormalization LeakyReLU LecunNormal LecunUniform LinearModel Lion
    LocallyConnected1D LocallyConnected2D LogCosh LossScaleOptimizer Masking MaxNorm
    MaxPooling1D MaxPooling2D MaxPooling3D Maximum Mean MeanAbsoluteError
    MeanAbsolutePercentageError MeanIoU MeanMetricWrapper MeanSquaredError
    MeanSquaredLogarithmicError Merge Minimum MinMaxNorm Model MultiHeadAttention Multiply Nadam
    NonNeg Normalization Ones Orthogonal PReLU Permute PiecewiseConstantDecay Poisson Policy
    PolicyV1 PolynomialDecay Precision RMSprop RNN RandomBrightness RandomContrast RandomCrop
    RandomFlip RandomHeight RandomNormal RandomRotation RandomTranslation RandomUniform
    RandomWidth RandomZoom ReLU Recall RepeatVector Rescaling Reshape Resizing
    RootMeanSquaredError SGD SeparableConv1D SeparableConv2D SeparableConvolution1D
    SeparableConvolution2D Sequential SimpleRNN SimpleRNNCell SlicingOpLambda Softmax
    SparseCategoricalAccuracy SparseCategoricalCrossentropy SparseTopKCategoricalAccuracy
    SpatialDropout1D SpatialDropout2D SpatialDropout3D SpectralNormalization StackedRNNCells
    StringLookup Subtract Sum SyncBatchNormalization TFOpLambda TensorFlowOpLayer TensorShape
    TextVectorization ThresholdedReLU TimeDistributed TopKCategoricalAccuracy TruncatedNormal
    UnitNorm UnitNormalization UpSampling1D UpSampling2D UpSampling3D VarianceScaling
    WideDeepModel ZeroPadding1D ZeroPadding2D ZeroPadding3D Zeros Loss Metric Wrapper Layer
    constant glorot_normal glorot_uniform he_normal he_uniform identity l1 l1_l2 l2 lecun_normal
    lecun_uniform max_norm min_max_norm non_neg ones orthogonal orthogonal_regularizer
    random_normal random_uniform stft truncated_normal unit_norm variance_scaling zeros
"""
_OLD_CLASSES = frozenset(_OLD_CLASSES_TEXT.split())
_CLASS = re.compile(r"_?[A-Z]\w*")

# Special objects of Keras's configs, which hold numbers, texts and places.
VALUES = {
    *("__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__"),
    *("__tuple__", "__dict__", "__set__"),
    *("TypeSpec", "CompositeTensor", "TensorShape", "KerasTensor"),  # of Keras 2
}
# Layers and models that are registered by these need them, and that is no secret.
_FRIENDS = {"keras_hub", "keras_nlp", "keras_cv", "keras_rs", "keras_tuner", "steelyard"}
# Other libraries that have functions to load, run, read or write.
_LIBRARIES_TEXT = """
    IPython aiohttp cffi cloudpickle dask dill distutils fsspec httpx jax joblib jsonpickle
    matplotlib numba numpy onnx onnxruntime pandas pip pkg_resources polars psutil py pyarrow
    pytest requests scipy setuptools sklearn sympy tensorflow theano torch transformers triton
    urllib3 wheel yaml
"""
_LIBRARIES = frozenset(_LIBRARIES_TEXT.split())


def is_dangerous_module(module: str) -> bool:
    """Whether a module is of Python itself, or of a library that is no place for layers."""
    first = module.split(".")[0]
    return (first in sys.stdlib_module_names and first != "__main__") or first in _LIBRARIES


def is_of_keras(module: str) -> bool:
    """Whether a module is one of Keras, those of Keras in TensorFlow included."""
    first = module.split(".")[0]
    return first in ("keras", "tf_keras") or module.startswith(
        ("tensorflow.keras", "tensorflow.python.keras", "tensorflow.python.framework")
    )


def is_friend(module: str) -> bool:
    """Whether a module is of a library that adds layers to Keras, and imports as such."""
    return module.split(".")[0] in _FRIENDS


def is_class(name: str) -> bool:
    """Whether a name in a module of Keras is one of a class, and not of a function."""
    return name in _OLD_CLASSES or _CLASS.fullmatch(name) is not None


def is_old_class(name: str) -> bool:
    """Whether Keras 2 knows a class by this name alone."""
    return name in _OLD_CLASSES


# Functions of TensorFlow that a layer of Keras 2 may call by name, by how their names begin.
RISKY_CALLS = (
    *("io.", "raw_ops.", "data.", "saved_model.", "train.", "summary.", "autograph."),
    *("py_function", "numpy_function", "load_library", "load_op_library", "compat.v1.py_func"),
    *("debugging.", "distribute.", "sysconfig.", "print", "queue.", "experimental."),
)
