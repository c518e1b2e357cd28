"""The seed model's transformer written down as an ONNX graph, operator by operator.

torch.onnx.export gives three times the nodes, and on 64 tokens a step's time beside its products is spent on nodes. Here
- tokens are rows [t + n, 256]: every Linear is a Gemm that adds its bias, and attention's and the MLP's halves of a block's output are two Gemms, one adding to the other;
- adaLN is LayerNormalization with scale and shift computed by the graph, the 1 of (1 + scale) kept in a constant;
- queries and keys are normalised and rotated together, and attention reads tokens as rows, so nothing is transposed.
Law, checked by the export: equals seed_model.Transformer to float32 rounding, for any n >= 1 and t >= 0.
"""
from collections import Counter

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper

import seed_model as seed

D, HEADS, HEAD, TOKEN = seed.HIDDEN, seed.HEADS, seed.HEAD, seed.TOKEN


class Graph:
    """Nodes and constants in the order they were asked for; values are names."""

    def __init__(self):
        self.nodes, self.constants, self.count = [], {}, Counter()

    def constant(self, name, value, dtype=np.float32):
        self.constants.setdefault(name, numpy_helper.from_array(np.array(value, dtype, order="C"), name))
        return name

    def indices(self, *values):
        return self.constant("_".join(["indices", *map(str, values)]), values, np.int64)

    def add(self, kind, *inputs, outputs=1, **attributes):
        """Appends a node; the name of its output, or a list of names."""
        self.count[kind] += 1
        names = [f"{kind}_{self.count[kind]}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def linear(self, x, name, weight, addend):
        """x W^T + addend; the addend is a bias or another value's name."""
        if not isinstance(addend, str):
            addend = self.constant(f"{name}.bias", addend)
        return self.add("Gemm", x, self.constant(f"{name}.weight", weight.T), addend)

    def layer(self, x, name, module):
        return self.linear(x, name, module.weight, module.bias)

    def silu(self, x):
        return self.add("Mul", x, self.add("Sigmoid", x))


def conditioning(graph, source):
    """Each block's shift, 1 + scale and gate, and the last layer's shift and 1 + scale, each [256]."""
    zero, one, everything = torch.zeros(D), torch.ones(D), graph.indices(-1)
    angle = graph.add("Mul", graph.add("Mul", "timestep", graph.constant("thousand", 1000)), graph.constant("t_freq", source.t_freq[None]))
    wave = graph.add("Concat", graph.add("Cos", angle), graph.add("Sin", angle), axis=1)
    c = graph.add("Add", graph.silu(graph.layer(wave, "t_in", source.t_in)), "pooled_projections")
    c = graph.silu(graph.layer(c, "t_out", source.t_out))

    def pieces(x, name, offset):
        count, total = offset.numel() // D, graph.add("Add", x, graph.constant(f"{name}.offset", offset))
        return graph.add("Split", graph.add("Reshape", total, everything), outputs=count, axis=0, num_outputs=count)

    mods = pieces(graph.layer(c, "mod", source.mod), "mod", torch.stack([block.mod for block in source.blocks]) + torch.cat([zero, one, zero]))
    return mods, pieces(graph.layer(c, "final_mod", source.final_mod), "final_mod", torch.cat([zero, one])[None])


def rotation(graph, source, num_text):
    """Cosines and sines [1, t + n, 32] of the tokens' angles. Text sits at the origin."""
    quarter = HEAD // 4
    freq = torch.zeros(3, 2 * quarter)
    freq[1, :quarter], freq[2, quarter:] = source.freq, source.freq
    ids = graph.add("Pad", "img_ids", graph.add("Concat", num_text, graph.indices(0, 0, 0), axis=0))
    angle = graph.add("MatMul", graph.add("Unsqueeze", ids, graph.indices(0)), graph.constant("freq", freq))
    return graph.add("Cos", angle), graph.add("Sin", angle)


def block(graph, name, source, x, modulation, cos, sin):
    shift, scale, gate = modulation
    y = graph.add("LayerNormalization", x, scale, shift, axis=-1, epsilon=1e-6)
    rows = zip(("qk", "v", "mlp"), source.inp.weight.split([2 * D, D, 4 * D]), source.inp.bias.split([2 * D, D, 4 * D]))
    qk, v, mlp = [graph.linear(y, f"{name}.{part}", weight, bias) for part, weight, bias in rows]

    qk = graph.add("RMSNormalization", graph.add("Reshape", qk, graph.indices(-1, 2 * HEADS, HEAD)), graph.constant("ones", torch.ones(HEAD)), axis=-1, epsilon=1e-6)
    norms = torch.cat([source.q_norm.expand(HEADS, HEAD), source.k_norm.expand(HEADS, HEAD)])
    qk = graph.add("Mul", qk, graph.constant(f"{name}.qk_norm", norms))  # as RMSNormalization's own scale it is slower: ONNX Runtime broadcasts one of two axes badly
    qk = graph.add("RotaryEmbedding", graph.add("Reshape", qk, graph.indices(1, -1, 2 * D)), cos, sin, num_heads=2 * HEADS)
    q, k = graph.add("Split", qk, outputs=2, axis=2, num_outputs=2)
    o = graph.add("Attention", q, k, graph.add("Reshape", v, graph.indices(1, -1, D)), q_num_heads=HEADS, kv_num_heads=HEADS)
    o = graph.add("Reshape", o, graph.indices(-1, D))

    from_attention, from_mlp = source.out.weight.split([D, 4 * D], 1)
    out = graph.linear(o, f"{name}.out_attention", from_attention, source.out.bias)
    out = graph.linear(graph.add("Gelu", mlp, approximate="tanh"), f"{name}.out_mlp", from_mlp, out)
    return graph.add("Add", x, graph.add("Mul", out, gate))


def transformer_graph(source):
    """The ONNX model of a seed_model.Transformer, with its inputs and output by name and shape; weights in fp32."""
    graph = Graph()
    first = graph.indices(0)
    mods, (final_shift, final_scale) = conditioning(graph, source)
    num_text = graph.add("Shape", "encoder_hidden_states", start=1, end=2)
    cos, sin = rotation(graph, source, num_text)
    image = graph.layer(graph.add("Squeeze", "hidden_states", first), "x_in", source.x_in)
    x = graph.add("Concat", graph.add("Squeeze", "encoder_hidden_states", first), image, axis=0)
    for i, each in enumerate(source.blocks):
        x = block(graph, f"blocks.{i}", each, x, mods[3 * i : 3 * i + 3], cos, sin)
    x = graph.add("Slice", x, num_text, graph.indices(2**62), first)
    x = graph.layer(graph.add("LayerNormalization", x, final_scale, final_shift, axis=-1, epsilon=1e-5), "out", source.out)
    graph.nodes.append(helper.make_node("Unsqueeze", [x, first], ["out_hidden_states"]))

    def value(name, *shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    inputs = [value("hidden_states", 1, "n", TOKEN), value("encoder_hidden_states", 1, "t", D), value("pooled_projections", 1, D), value("timestep", 1), value("img_ids", "n", 3)]
    made = helper.make_graph(graph.nodes, "transformer", inputs, [value("out_hidden_states", 1, "n", TOKEN)], list(graph.constants.values()))
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)
