"""The operations that a submission may consist of.

TensorFlow registers some 1,900 operations; many read files, write files or end the process. A list of forbidden ones
always misses some, so this is a list of harmless ones: arithmetic, reshaping, convolution, random numbers, pure
control flow. Whatever is not here is refused by name.
"""

_STRUCTURE = (
    "Const Identity IdentityN NoOp Placeholder PlaceholderWithDefault StopGradient EnsureShape PartitionedCall "
    "StatefulPartitionedCall"
)
# Replaced by constants before anything runs.
_VARIABLES = "VarHandleOp ReadVariableOp Variable VariableV2"
_MATH = (
    "Abs Add AddN AddV2 Sub Mul RealDiv FloorDiv DivNoNan Neg Square SquaredDifference Sqrt Rsqrt Reciprocal Exp Expm1 "
    "Log Log1p Pow Erf Erfc Sin Cos Atan Sinh Cosh Floor Ceil Round Sign FloorMod Maximum Minimum Greater GreaterEqual "
    "Less LessEqual Equal NotEqual LogicalAnd LogicalOr LogicalNot IsFinite Select SelectV2 Cast Bitcast BitwiseAnd "
    "ComplexAbs"
)
_NETWORK = (
    "MatMul BatchMatMul BatchMatMulV2 Einsum Conv2D Conv2DBackpropInput Conv3D Conv3DBackpropInputV2 "
    "DepthwiseConv2dNative BiasAdd Relu Relu6 LeakyRelu Elu Selu Sigmoid Tanh Softplus Softsign Softmax LogSoftmax "
    "MaxPool AvgPool FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 FFT2D"
)
_REDUCTION = "Mean Sum Max Min Prod Any All ArgMax ArgMin TopKV2 Cumsum"
_SHAPE = (
    "Reshape Shape Size Rank BroadcastTo Squeeze ExpandDims Pack Unpack ConcatV2 Split SplitV Slice StridedSlice "
    "Transpose Tile Fill OnesLike ZerosLike Range Pad PadV2 MirrorPad ReverseV2 Roll GatherV2 GatherNd OneHot "
    "MatrixBandPart SpaceToDepth DepthToSpace SpaceToBatchND BatchToSpaceND ExtractImagePatches"
)
_IMAGE = "ResizeBilinear ResizeBicubic ResizeNearestNeighbor ImageProjectiveTransformV3"
_RANDOM = (
    "RandomStandardNormal RandomUniform StatelessRandomGetKeyCounter StatelessRandomNormalV2 StatelessRandomUniformV2"
)
_CONTROL = (
    "If While StatelessIf StatelessWhile TensorListFromTensor TensorListGetItem TensorListReserve TensorListSetItem "
    "TensorListStack"
)

ALLOWED = frozenset(
    " ".join((_STRUCTURE, _VARIABLES, _MATH, _NETWORK, _REDUCTION, _SHAPE, _IMAGE, _RANDOM, _CONTROL)).split()
)

_TF1_CONTROL_FLOW = "control flow of TF1 is not let in: export without it, with training off as a constant"

# What to change, by the first word that an operation's name contains.
_ADVICE = (
    ("TensorArray", _TF1_CONTROL_FLOW),
    ("Switch", _TF1_CONTROL_FLOW),
    ("Merge", _TF1_CONTROL_FLOW),
    ("Enter", _TF1_CONTROL_FLOW),
    ("Assign", "the graph changes its variables while it runs: export it with training off (is_training=False)"),
    ("Apply", "the graph trains: export the inference part alone"),
    ("Queue", "the graph reads an input queue: put the tensor behind the queue into the collection"),
    ("Iterator", "the graph reads a data set: put the tensor behind the iterator into the collection"),
    ("PyFunc", "Python code cannot be part of a submission"),
    ("Read", "a model may not read files"),
    ("Restore", "a model may not read files"),
    ("Write", "a model may not write files"),
    ("Save", "a model may not write files"),
    ("Print", "a model may not print"),
    ("Summary", "a model may not write summaries"),
    ("Hash", "a look-up table is not part of a model"),
)


def advice(op):
    """Returns what a team should change about an operation that is not allowed."""
    fallback = "a model is arithmetic, convolution and reshaping; replace it, or ask the organiser"
    return next((text for word, text in _ADVICE if word in op), fallback)
