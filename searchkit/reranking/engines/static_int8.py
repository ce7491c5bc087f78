"""Makes the matrix products of an OpenVINO graph int8, with ranges taken once from samples.

Activations get one scale a tensor, which is what int8 products need, and weights one a column. Three things keep the
result near the float32 model; the numbers behind them are in docs/decisions/:

- channels are smoothed first: each is divided by a factor and its weights are multiplied by it (SmoothQuant, Xiao et
  al. 2023), so that a channel with a wide range does not decide the scale of the narrow ones;
- a product that narrows, the second of a feed-forward network, reads what an activation function let through: a few of
  its channels are a hundred times wider than the rest. These stay in float32, beside the int8 product, and are made
  apart from the others, so that these leave the activation function in int8;
- attention, the head, and what the last layer computes for the first tokens only stay in float32: they cost little.

A pair's score does not depend on its batch: ranges are fixed, and integer sums are exact in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_LEVELS = 256
_LARGEST_WEIGHT = 127
_SMOOTHING = 0.8  # share of a channel's range that moves into its weights
_NARROWING_SMOOTHING = 0.5
_CHANNELS_A_WIDE_ONE = 48  # of a narrowing product one in so many channels stays in float32
_TINY = 1e-5
_BY_ELEMENT = frozenset({"Add", "Convert", "Divide", "Erf", "Multiply", "Relu", "Sigmoid", "Subtract", "Tanh"})
"""Operators whose output at a place depends on their inputs there alone, and which have no attributes that matter."""


@dataclass(frozen=True, slots=True)
class ChannelRange:
    """Smallest and largest value of each channel, both of shape ``(channels,)``."""

    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True)
class _Scaling:
    """How the channels of an activation are quantized.

    Attributes:
        factors: What each channel is divided by, shape ``(channels,)``.
        wide: Indices of the channels that stay in float32, ascending.
        low: Smallest quantized value after division, at most 0.
        high: Largest.
    """

    factors: Floats
    wide: NDArray[np.int64]
    low: float
    high: float


def quantize_products(model: Any, ranges: Mapping[str, ChannelRange]) -> int:
    """Make the matrix products of ``model`` int8, in place.

    Args:
        model: An ``openvino.Model`` in float32.
        ranges: Of the activations that the products read, by name, from `channel_ranges` on the same graph.

    Returns:
        How many products are int8 now.
    """
    groups = _products(model)
    for name, group in groups.items():
        _quantize(group, ranges[name])
    model.validate_nodes_and_infer_types()
    return sum(len(group) for group in groups.values())


def channel_ranges(
    model: Any, compile_model: Any, samples: Iterable[Mapping[str, NDArray[np.int64]]]
) -> dict[str, ChannelRange]:
    """Return the range of every channel of the activations that matrix products read.

    Args:
        model: An ``openvino.Model`` in float32; not changed.
        compile_model: Turns an ``openvino.Model`` into something that can be called with a sample.
        samples: Inputs of the model, without padding.
    """
    import openvino
    from openvino import opset13 as operators

    copy = model.clone()
    groups = _products(copy)
    axes = operators.constant(np.array([0, 1], dtype=np.int64))
    extremes: list[Any] = []
    for group in groups.values():
        source = group[0].input_value(0)
        extremes += [operators.reduce_min(source, axes), operators.reduce_max(source, axes)]
    results = [operators.result(extreme) for extreme in extremes]
    run = compile_model(openvino.Model(results, copy.get_parameters(), "ranges"))
    seen = [[np.array(found[place]) for place in range(len(results))] for found in map(run, samples)]
    lows = [np.min([one[2 * place] for one in seen], axis=0) for place in range(len(groups))]
    highs = [np.max([one[2 * place + 1] for one in seen], axis=0) for place in range(len(groups))]
    return {name: ChannelRange(low, high) for name, low, high in zip(groups, lows, highs, strict=True)}


def _products(model: Any) -> dict[str, list[Any]]:
    """Return the products of all tokens with constant weights, by the activation that they read."""
    found: dict[str, list[Any]] = {}
    for node in model.get_ordered_ops():
        if node.get_type_name() == "MatMul" and _constant(node.input_value(1)) is not None and _is_per_token(node):
            source = node.input_value(0)
            found.setdefault(f"{source.get_node().get_friendly_name()}:{source.get_index()}", []).append(node)
    return found


def _is_per_token(product: Any) -> bool:
    """Whether its rows are all tokens, (rows, length, width), not those that a head reads."""
    shape = product.get_output_partial_shape(0)
    unlimited = -1
    return (
        not product.get_attributes().get("transpose_a", False)
        and shape.rank.is_static
        and shape.rank.get_length() == 3
        and shape[1].get_max_length() == unlimited
    )


def _constant(output: Any) -> Floats | None:
    node = output.get_node()
    while node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    if node.get_type_name() != "Constant" or len(node.get_output_shape(0)) != 2:
        return None
    values: Floats = node.data.astype(np.float32)
    return values


def _weights(product: Any) -> Floats:
    """Return the weights, shape ``(inputs, outputs)``."""
    values = _constant(product.input_value(1))
    assert values is not None
    return values.T if product.get_attributes().get("transpose_b", False) else values


def _quantize(group: Sequence[Any], found: ChannelRange) -> None:
    from openvino import opset13 as operators

    source = group[0].input_value(0)
    weights = [_weights(product) for product in group]
    scaling = _scaling(found, np.concatenate(weights, axis=1))
    shrink = (1 / scaling.factors).astype(np.float32)
    shrink[scaling.wide] = 0
    ends = [operators.constant(np.float32(end)) for end in (scaling.low, scaling.high) * 2]
    shrunk = operators.multiply(source, operators.constant(shrink.reshape(1, 1, -1)))
    quantized = operators.fake_quantize(shrunk, *ends, _LEVELS)
    for product, values in zip(group, weights, strict=True):
        replacement = _product(quantized, values, scaling)
        if len(scaling.wide):
            replacement = operators.add(replacement, _float_product(source, values, scaling.wide))
        readers = list(product.output(0).get_target_inputs())
        for reader in readers:
            reader.replace_source_output(replacement.output(0))


def _scaling(found: ChannelRange, weights: Floats) -> _Scaling:
    inputs, outputs = len(found.low), weights.shape[1]
    is_narrowing = inputs > outputs
    smoothing = _NARROWING_SMOOTHING if is_narrowing else _SMOOTHING
    spread = np.maximum(np.maximum(np.abs(found.low), np.abs(found.high)), _TINY)
    factors = spread**smoothing / np.maximum(np.abs(weights).max(axis=1), _TINY) ** (1 - smoothing)
    factors /= np.exp(np.log(factors).mean())  # around 1: only their ratios matter
    count = inputs // _CHANNELS_A_WIDE_ONE if is_narrowing else 0
    wide = np.sort(np.argsort(-spread / factors, kind="stable")[:count])
    narrow = np.ones(inputs, dtype=bool)
    narrow[wide] = False
    low = min(float((found.low / factors)[narrow].min()), 0.0)
    high = max(float((found.high / factors)[narrow].max()), low + _TINY)
    return _Scaling(factors.astype(np.float32), wide, low, high)


def _product(quantized: Any, weights: Floats, scaling: _Scaling) -> Any:
    from openvino import opset13 as operators

    scaled = weights * scaling.factors[:, None]
    scaled[scaling.wide] = 0
    steps = np.maximum(np.abs(scaled).max(axis=0, keepdims=True), _TINY) / _LARGEST_WEIGHT
    whole = np.rint(scaled / steps).astype(np.int8)
    values = operators.multiply(
        operators.convert(operators.constant(whole), "f32"), operators.constant(steps.astype(np.float32))
    )
    return operators.matmul(quantized, values, transpose_a=False, transpose_b=False)


def _float_product(source: Any, weights: Floats, wide: NDArray[np.int64]) -> Any:
    from openvino import opset13 as operators

    last = operators.constant(np.int64(2))
    picked = _made_alone(source, wide) or operators.gather(source, operators.constant(wide), last)
    values = operators.constant(np.ascontiguousarray(weights[wide]))
    return operators.matmul(picked, values, transpose_a=False, transpose_b=False)


def _made_alone(source: Any, channels: NDArray[np.int64]) -> Any | None:
    """Return some channels of an activation, made by a small product of their own; ``None`` if that is not possible.

    The large product is then read by its int8 successor alone, so that OpenVINO makes activation function, smoothing
    and quantization part of it. Channels are columns all the way up to the product, whose sums stay what they were.
    """
    return _Columns(channels, source.get_partial_shape()[2].get_length()).of(source)


class _Columns:
    """Copies the nodes between a product and one of its successors for some of the product's columns.

    Args:
        columns: Which.
        width: How many there are.
    """

    def __init__(self, columns: NDArray[np.int64], width: int) -> None:
        self._columns = columns
        self._width = width
        self._made: dict[str, Any] = {}

    def of(self, output: Any) -> Any | None:
        """Return the columns of an output; ``None`` if a node on the way is of an unknown kind."""
        node = output.get_node()
        name = node.get_friendly_name()
        if name not in self._made:
            self._made[name] = self._constant(node) if node.get_type_name() == "Constant" else self._copied(node)
        return self._made[name]

    def _constant(self, node: Any) -> Any | None:
        from openvino import opset13 as operators

        if node.data.size == 1:
            return node
        if node.data.shape[-1] == self._width:
            return operators.constant(np.ascontiguousarray(node.data[..., self._columns]))
        return None

    def _copied(self, node: Any) -> Any | None:
        from openvino import opset13 as operators

        kind, inputs = node.get_type_name(), node.input_values()
        if kind == "MatMul" and not any(node.get_attributes().get(f"transpose_{side}") for side in "ab"):
            weights = self.of(inputs[1])
            return None if weights is None else operators.matmul(inputs[0], weights, False, False)
        if kind not in _BY_ELEMENT:
            return None
        found = [self.of(entry) for entry in inputs]
        if any(entry is None for entry in found):
            return None
        if kind == "Convert":
            return operators.convert(found[0], "f32")
        return getattr(operators, kind.lower())(*found)
