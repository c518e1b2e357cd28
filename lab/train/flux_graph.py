"""diffusers' FluxTransformer2DModel written down as an ONNX graph, operator by operator, for one picture at a time.

torch.onnx.export gives three times the nodes, and on 64 tokens a step's time beside its products is spent on nodes.
Here

- tokens are rows [t + n, d]: every Linear is a Gemm that adds its bias, and the two halves of a single block's output
  are two Gemms, one adding to the other;
- all modulations of a step are one Gemm; adaLN is LayerNormalization with scale and shift computed by the graph, the 1
  of (1 + scale) kept in a bias;
- queries and keys are normalised and rotated together. FLUX turns neighbouring values (0, 1), (2, 3), …; with the rows
  of both projections in the order 0, 2, …, 1, 3, … the same pairs lie half a head apart, which is the faster way, and
  their products do not notice;
- attention reads tokens as rows, so nothing is transposed.

Law, checked by the export: equals the module to float32 rounding, for any n >= 1 and t >= 1 and any position ids.
"""

import math
from collections import Counter

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper

EPSILON = 1e-6


class Graph:
    """Nodes and float32 constants in the order they were asked for; values are names."""

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

    def layers(self, x, name, *modules):
        return self.linear(x, name, torch.cat([m.weight for m in modules]), torch.cat([m.bias for m in modules]))

    def silu(self, x):
        return self.add("Mul", x, self.add("Sigmoid", x))

    def adapt(self, x, shift, scale):
        return self.add("LayerNormalization", x, scale, shift, axis=-1, epsilon=EPSILON)

    def gated(self, x, gate, update):
        return self.add("Add", x, self.add("Mul", update, gate))


def conditioning(graph, source, d):
    """Every modulation vector [d] of a step, in the order of the blocks: the image's six and the text's six of a double
    block, three of a single one, scale and shift at the end.
    """
    embed = source.time_text_embed
    frequencies = torch.exp(-math.log(1e4) * torch.arange(128) / 128)
    angle = graph.add("Mul", "timestep", graph.constant("time_frequencies", 1000 * frequencies[None]))
    wave = graph.add("Concat", graph.add("Cos", angle), graph.add("Sin", angle), axis=1)
    text = graph.silu(graph.layer("pooled_projections", "pooled_in", embed.text_embedder.linear_1))
    time = graph.silu(graph.layer(wave, "time_in", embed.timestep_embedder.linear_1))
    text_out, time_out = embed.text_embedder.linear_2, embed.timestep_embedder.linear_2
    c = graph.linear(
        time,
        "time_out",
        time_out.weight,
        graph.linear(text, "pooled_out", text_out.weight, text_out.bias + time_out.bias),
    )

    zero, one = torch.zeros(d), torch.ones(d)
    modules, offsets = [], []
    for block in source.transformer_blocks:  # shift, scale, gate of attention, then of the MLP
        modules += [block.norm1.linear, block.norm1_context.linear]
        offsets += 2 * [zero, one, zero, zero, one, zero]
    for block in source.single_transformer_blocks:
        modules.append(block.norm.linear)
        offsets += [zero, one, zero]
    modules.append(source.norm_out.linear)
    offsets += [one, zero]  # scale comes first here
    total = graph.linear(
        graph.silu(c),
        "modulation",
        torch.cat([m.weight for m in modules]),
        torch.cat([m.bias for m in modules]) + torch.cat(offsets),
    )
    return graph.add(
        "Split", graph.add("Reshape", total, graph.indices(-1)), outputs=len(offsets), axis=0, num_outputs=len(offsets)
    )


def rotation(graph, axes):
    """Cosines and sines [1, t + n, head / 2] of the tokens' angles."""
    frequencies, at = torch.zeros(3, sum(axes) // 2, dtype=torch.float64), 0
    for axis, size in enumerate(axes):
        frequencies[axis, at : at + size // 2] = 1e4 ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
        at += size // 2
    ids = graph.add("Unsqueeze", graph.add("Concat", "txt_ids", "img_ids", axis=0), graph.indices(0))
    angle = graph.add("MatMul", ids, graph.constant("frequencies", frequencies))
    return graph.add("Cos", angle), graph.add("Sin", angle)


class Attention:
    """Joint attention of rows [s, d], once queries, keys and values of every stream are there."""

    def __init__(self, graph, heads, head, cos, sin):
        self.graph, self.heads, self.head, self.cos, self.sin = graph, heads, head, cos, sin
        self.halves = torch.cat([torch.arange(0, head, 2), torch.arange(1, head, 2)])

    def stream(self, name, y, q, k, v, norm_q, norm_k):
        """Normalised queries and keys [s, 2 heads, head], and values [s, d]."""
        graph, rows = self.graph, (torch.arange(self.heads)[:, None] * self.head + self.halves).reshape(-1)
        qk = graph.linear(
            y, f"{name}.qk", torch.cat([q.weight[rows], k.weight[rows]]), torch.cat([q.bias[rows], k.bias[rows]])
        )
        qk = graph.add(
            "RMSNormalization",
            graph.add("Reshape", qk, graph.indices(-1, 2 * self.heads, self.head)),
            graph.constant("ones", torch.ones(self.head)),
            axis=-1,
            epsilon=EPSILON,
        )
        # as RMSNormalization's own scale it is slower: ONNX Runtime broadcasts one of two axes badly
        norms = torch.cat([norm.weight[self.halves].expand(self.heads, self.head) for norm in (norm_q, norm_k)])
        return graph.add("Mul", qk, graph.constant(f"{name}.qk_norm", norms)), graph.layer(y, f"{name}.v", v)

    def __call__(self, qk, v):
        """[s, d] of qk [s, 2 heads, head] and v [s, d]."""
        graph, d = self.graph, self.heads * self.head
        qk = graph.add(
            "RotaryEmbedding",
            graph.add("Reshape", qk, graph.indices(1, -1, 2 * d)),
            self.cos,
            self.sin,
            num_heads=2 * self.heads,
        )
        q, k = graph.add("Split", qk, outputs=2, axis=2, num_outputs=2)
        o = graph.add(
            "Attention",
            q,
            k,
            graph.add("Reshape", v, graph.indices(1, -1, d)),
            q_num_heads=self.heads,
            kv_num_heads=self.heads,
        )
        return graph.add("Reshape", o, graph.indices(-1, d))


def double_block(graph, name, source, image, text, modulations, attention, num_text):
    """Image and text rows after a block in which each has weights of its own and attention sees both."""
    a, of_image, of_text = source.attn, modulations[:6], modulations[6:]
    parts = [
        attention.stream(
            f"{name}.text",
            graph.adapt(text, *of_text[:2]),
            a.add_q_proj,
            a.add_k_proj,
            a.add_v_proj,
            a.norm_added_q,
            a.norm_added_k,
        ),
        attention.stream(
            f"{name}.image", graph.adapt(image, *of_image[:2]), a.to_q, a.to_k, a.to_v, a.norm_q, a.norm_k
        ),
    ]
    o = attention(*(graph.add("Concat", *pair, axis=0) for pair in zip(*parts, strict=True)))
    o_text, o_image = (
        graph.add("Slice", o, graph.indices(0), num_text, graph.indices(0)),
        graph.add("Slice", o, num_text, graph.indices(2**62), graph.indices(0)),
    )

    def rest(which, x, o, out, mlp, modulation):
        _, _, gate, mlp_shift, mlp_scale, mlp_gate = modulation
        x = graph.gated(x, gate, graph.layer(o, f"{name}.{which}.out", out))
        y = graph.add(
            "Gelu",
            graph.layer(graph.adapt(x, mlp_shift, mlp_scale), f"{name}.{which}.mlp_in", mlp.net[0].proj),
            approximate="tanh",
        )
        return graph.gated(x, mlp_gate, graph.layer(y, f"{name}.{which}.mlp_out", mlp.net[2]))

    return rest("image", image, o_image, a.to_out[0], source.ff, of_image), rest(
        "text", text, o_text, a.to_add_out, source.ff_context, of_text
    )


def single_block(graph, name, source, x, modulation, attention):
    """All rows after a block whose attention and MLP run side by side."""
    shift, scale, gate = modulation
    a, y = source.attn, graph.adapt(x, shift, scale)
    o = attention(*attention.stream(name, y, a.to_q, a.to_k, a.to_v, a.norm_q, a.norm_k))
    mlp = graph.add("Gelu", graph.layer(y, f"{name}.mlp_in", source.proj_mlp), approximate="tanh")
    d = source.proj_out.out_features
    from_attention, from_mlp = source.proj_out.weight[:, :d], source.proj_out.weight[:, d:]
    return graph.gated(
        x,
        gate,
        graph.linear(
            mlp,
            f"{name}.out_mlp",
            from_mlp,
            graph.linear(o, f"{name}.out_attention", from_attention, source.proj_out.bias),
        ),
    )


def flux_graph(source):
    """The ONNX model of a FluxTransformer2DModel without guidance, with its inputs and output by name and shape;
    weights in float32.
    """
    graph, config = Graph(), source.config
    heads, head = config.num_attention_heads, config.attention_head_dim
    d, rows = heads * head, graph.indices(0)
    modulations = iter(conditioning(graph, source, d))

    def take(count: int) -> list:
        return [next(modulations) for _ in range(count)]

    attention = Attention(graph, heads, head, *rotation(graph, config.axes_dims_rope))
    num_text = graph.add("Shape", "encoder_hidden_states", start=1, end=2)

    image = graph.layer(graph.add("Squeeze", "hidden_states", rows), "image_in", source.x_embedder)
    text = graph.layer(graph.add("Squeeze", "encoder_hidden_states", rows), "text_in", source.context_embedder)
    for i, block in enumerate(source.transformer_blocks):
        image, text = double_block(graph, f"double.{i}", block, image, text, take(12), attention, num_text)
    x = graph.add("Concat", text, image, axis=0)
    for i, block in enumerate(source.single_transformer_blocks):
        x = single_block(graph, f"single.{i}", block, x, take(3), attention)
    scale, shift = take(2)
    x = graph.adapt(graph.add("Slice", x, num_text, graph.indices(2**62), rows), shift, scale)
    graph.nodes.append(
        helper.make_node("Unsqueeze", [graph.layer(x, "out", source.proj_out), rows], ["out_hidden_states"])
    )

    def value(name, *shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    inputs = [
        value("hidden_states", 1, "n", config.in_channels),
        value("encoder_hidden_states", 1, "t", config.joint_attention_dim),
        value("pooled_projections", 1, config.pooled_projection_dim),
        value("timestep", 1),
        value("img_ids", "n", 3),
        value("txt_ids", "t", 3),
    ]
    made = helper.make_graph(
        graph.nodes,
        "transformer",
        inputs,
        [value("out_hidden_states", 1, "n", source.proj_out.out_features)],
        list(graph.constants.values()),
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)
