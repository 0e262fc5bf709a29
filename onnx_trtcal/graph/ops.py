"""What each ONNX operator does to values and scales: the tables that every question about an op type is looked up in.

Sources named in the tables:
    catalog: TensorRT's Layer Fusion Catalog,
        https://docs.nvidia.com/deeplearning/tensorrt/latest/performance/fusion-catalog.html
    2134: https://github.com/NVIDIA/TensorRT/issues/2134 (NVIDIA: Conv+LeakyReLU is one kernel in INT8 on
        Turing and later; where no tactic has a fusion, TensorRT runs two kernels).
    builder log: `trtexec --verbose` of TensorRT 8.0.1 prints
        "GenericConvActFusionBase: Fusing Conv_82 + Add_92 with PWN(250 + .., PRelu_93)".
"""

from __future__ import annotations

from dataclasses import dataclass

from onnx import TensorProto

from onnx_trtcal.graph.weighted import WEIGHTED

__all__ = [
    "ACTIVATIONS",
    "ANCHORS",
    "AROUND_SOFTMAX",
    "AVERAGES",
    "COMMUTES",
    "COPIES",
    "COUNTS",
    "FLOAT",
    "FLOATS",
    "INT8_CAPABLE",
    "INT64",
    "INTEGER_MAKERS",
    "KEEPS_AXES",
    "MOVES",
    "POINTWISE",
    "QUANTIZED",
    "RANDOM",
    "READ_NO_VALUES",
    "RESHAPES",
    "SATURATING",
    "SCATTERS",
    "SHAPE_CARRIERS",
    "SHAPE_INPUTS",
    "SHAPE_SOURCES",
    "SHRINKS",
    "TIED",
    "Activation",
    "is_standard_domain",
]

# Ops that start a group: TensorRT runs them as weighted INT8 kernels. MatMul and Gemm with constant weights
# become convolutions or fully connected layers, to which all convolution fusions apply (catalog).
ANCHORS = frozenset(WEIGHTED)


def is_standard_domain(domain: str | None) -> bool:
    """Whether a domain, as a node or an opset import states it, is that of ONNX's own operators."""
    return domain in (None, "", "ai.onnx")


def _names(text: str, domain: str = "") -> frozenset[str]:
    return frozenset(domain + name for name in text.split())


@dataclass(frozen=True)
class Activation:
    """Whether an activation belongs to the kernel before it.

    Attributes:
        rule: why, with its source.
        constant: positions of inputs that must be constants for it to fuse.
        fuses: the tensor before it vanishes and takes the scale of the activation's output.
    """

    rule: str
    constant: tuple[int, ...] = ()
    fuses: bool = True


_GENERIC = "catalog, Convolution and Generic Activation: a pointwise layer with one input and one output"
# Saturating functions fit the generic rule too, but where no tactic has the fusion (2134) TensorRT runs two
# kernels and stores the tensor between them in INT8. Given the scale of an output that ends at 1, logits
# would be cut at 1, where sigmoid is 0.73; with a scale of their own nothing is lost in either case.
_SATURATES = "generic fusion is not certain (2134), and the output's scale would cut the tensor before it"

ACTIVATIONS = {
    "Relu": Activation("catalog, Convolution and ReLU Activation: every convolution type"),
    "Clip": Activation("catalog, Convolution and Clip Activation: constant bounds (ReLU6)", (1, 2)),
    "LeakyRelu": Activation("2134: one kernel in INT8 on Turing and later"),
    "PRelu": Activation("builder log: constant slope, PWN(slope, PRelu) joins the convolution", (1,)),
    "Gelu": Activation("catalog, Convolution and GELU Activation: FP16 and INT8"),
    "com.microsoft:Gelu": Activation("the same function as ONNX's Gelu"),
    "com.microsoft:QuickGelu": Activation(_GENERIC),
    "HardSwish": Activation(_GENERIC),
    "Swish": Activation(_GENERIC),
    "Mish": Activation(_GENERIC),
    "Elu": Activation(_GENERIC),
    "Celu": Activation(_GENERIC),
    "Selu": Activation(_GENERIC),
    "Softplus": Activation(_GENERIC),
    "ThresholdedRelu": Activation(_GENERIC),
    "Sigmoid": Activation(fuses=False, rule=_SATURATES),
    "HardSigmoid": Activation(fuses=False, rule=_SATURATES),
    "Tanh": Activation(fuses=False, rule=_SATURATES),
    "Softsign": Activation(fuses=False, rule=_SATURATES),
    "Softmax": Activation(fuses=False, rule="not pointwise: a kernel of its own"),
    "LogSoftmax": Activation(fuses=False, rule="not pointwise: a kernel of its own"),
    "Hardmax": Activation(fuses=False, rule="not pointwise: a kernel of its own"),
}

# Ops that an activation may be decomposed into: SiLU as Sigmoid and Mul, hard-swish, GELU with Erf or Tanh,
# Mish. Neighbouring ones always become one pointwise kernel when their constants are single values (catalog,
# PointWise Fusion), and that kernel has one input and one output when all of them start from one tensor.
POINTWISE = _names(
    "Abs Add Ceil Celu Clip Div Elu Erf Exp Floor Gelu HardSigmoid HardSwish LeakyRelu Log Max Min Mul Neg"
    " Pow Reciprocal Relu Selu Sigmoid Softplus Softsign Sqrt Sub Tanh ThresholdedRelu"
)

# Those that stay within fixed bounds, so that x times one of them grows no faster than x.
SATURATING = _names("Clip Erf HardSigmoid Min Sigmoid Softsign Tanh")

# Ops that give the values of input 0 another shape and leave their order alone.
RESHAPES = _names("Flatten Reshape Squeeze Unsqueeze")

# Ops that leave every value of input 0 where it is.
KEEPS_AXES = _names("Dropout Identity")

# Ops whose output holds exactly the values of input 0, each once: one histogram serves both sides.
# A Dropout counts as long as it does not train.
MOVES = RESHAPES | KEEPS_AXES | _names("DepthToSpace SpaceToDepth Transpose")

# Ops that TensorRT accepts around the Softmax between the two products of an attention.
AROUND_SOFTMAX = KEEPS_AXES | _names("Add Cast Div Mul Reshape Sub Transpose Where")

# Ops whose output takes the scale of input 0 although its histogram is another: in every cache TensorRT
# wrote, 5.1 to 10.14, a max pooling's output has its input's scale. GlobalMaxPool is imported as a reduction,
# and reductions (like the mean) are calibrated by themselves, so it is not here; neither is AveragePool.
COPIES = _names("MaxPool")

# Ops that pass on input 0 with its scale.
TIED = MOVES | COPIES

# TensorRT swaps a Q with any of these in front of it; Concat passes it on to every branch.
COMMUTES = TIED | _names("Concat Gather Slice Split")

# Ops whose output is nowhere larger than their input, so that the input's scale covers it.
SHRINKS = _names("Clip LeakyRelu Relu")

# Ops without weights that have INT8 kernels: worth a pair where the tensor is INT8 before and behind them.
INT8_CAPABLE = _names("Add AveragePool GlobalAveragePool Resize Upsample")

# Those of them that average.
AVERAGES = _names("AveragePool GlobalAveragePool")

# These look at a tensor's size only: it is all the same to them whether its values are INT8.
READ_NO_VALUES = _names("Shape Size")

# Inputs that are read as shapes, sizes or positions of axes, never as values of an activation.
SHAPE_INPUTS: dict[str, frozenset[int]] = {
    "CenterCropPad": frozenset({1}),
    "ConstantOfShape": frozenset({0}),
    "Expand": frozenset({1}),
    "Loop": frozenset({0}),
    "OneHot": frozenset({1}),
    "Pad": frozenset({1, 3}),
    "Range": frozenset({0, 1, 2}),
    "Reshape": frozenset({1}),
    "Resize": frozenset({1, 2, 3}),
    "Slice": frozenset({1, 2, 3, 4}),
    "Split": frozenset({1}),
    "Squeeze": frozenset({1}),
    "Tile": frozenset({1}),
    "TopK": frozenset({1}),
    "Unsqueeze": frozenset({1}),
    "Upsample": frozenset({1}),
}

# Ops through which a shape is computed: one whose results all end in shape positions reads only shapes.
SHAPE_CARRIERS = _names(
    "Abs Add And Cast Ceil Clip Concat Div Equal Floor Gather Greater GreaterOrEqual Identity Less"
    " LessOrEqual Max Min Mod Mul Neg Not Or Pow Range ReduceMax ReduceMin ReduceProd ReduceSum Reshape Round"
    " Slice Split Sqrt Squeeze Sub Sum Unsqueeze Where"
)

# Ops that a computation of shapes starts from.
SHAPE_SOURCES = _names("Constant ConstantOfShape NonZero Shape Size")

# Ops whose outputs have as many rows as their values make them have; the bodies of an If or a Loop may differ so, too.
COUNTS = _names("Compress If Loop NonMaxSuppression NonZero SequenceAt Unique")

# Ops whose output has the shape of input 0, whatever the other inputs hold.
SCATTERS = _names("Scatter ScatterElements ScatterND")

# Generators whose output is another one in every run, although it depends on no input.
RANDOM = _names("Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike")

# Ops of a model that somebody quantized already.
QUANTIZED = _names(
    "ConvInteger DequantizeLinear DynamicQuantizeLinear MatMulInteger QLinearConv QLinearMatMul QuantizeLinear"
) | _names(
    "DequantizeLinear DynamicQuantizeMatMul MatMulIntegerToFloat QGemm QLinearAdd QLinearAveragePool"
    " QLinearConcat QLinearConv QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul QLinearSigmoid"
    " QLinearSoftmax QuantizeLinear",
    domain="com.microsoft:",
)

# Ops whose outputs are never float, whatever they read (for tensors nothing else gives a type).
INTEGER_MAKERS = _names(
    "And ArgMax ArgMin Equal Greater GreaterOrEqual IsInf IsNaN Less LessOrEqual NonMaxSuppression NonZero"
    " Not Or Shape Size Xor"
)

FLOAT, INT64 = int(TensorProto.FLOAT), int(TensorProto.INT64)
# The element types that calibration measures.
FLOATS = frozenset({FLOAT, int(TensorProto.FLOAT16), int(TensorProto.DOUBLE), int(TensorProto.BFLOAT16)})
