"""The embedded model's transformer in PyTorch, its weights read back from the ONNX file: the anchor that ties the two
servers together.

The file keeps queries and keys in one matrix with the rows of a head in the order 0, 2, …, 1, 3, …, all modulations in
one matrix with the 1 of (1 + scale) inside its bias, and large constants as int8 with scales or as float16. Law: the
module gives what the graph gives, to float32 rounding.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import torch
from diffusers import FluxTransformer2DModel
from onnx import numpy_helper
from tokenizers import Tokenizer

from ralu_stage.adapters.flux import Flux
from ralu_stage.engine.diffusers_model import DiffusersModel
from ralu_stage.engine.engine_class import describe_engine
from ralu_stage.text.encoded import Encoded


def read_constants(path: Path) -> dict[str, torch.Tensor]:
    """The large constants of a graph by the names of its layers, float32."""
    kept = {constant.name: numpy_helper.to_array(constant) for constant in onnx.load(path).graph.initializer}
    constants = {}
    for name, values in kept.items():
        if name.endswith("_int8"):
            layer = name.removesuffix("_int8")
            whole = values.astype(np.float32) * kept[f"{layer}_scale"].astype(np.float32)
            constants[layer] = whole.reshape(kept[f"{layer}_shape"])
        elif not name.endswith(("_scale", "_shape")):
            constants[name.removesuffix("_fp16")] = values
    return {name: torch.tensor(values, dtype=torch.float32) for name, values in constants.items()}


def axes_of(frequencies: torch.Tensor) -> tuple[int, ...]:
    """Values of a head that turn by each axis of the position ids; `frequencies` is [axes, head / 2]."""
    return tuple(2 * int(count) for count in (frequencies != 0).sum(1))


def read_transformer(path: Path) -> FluxTransformer2DModel:
    """The FluxTransformer2DModel of a graph that lab/train/flux_graph.py wrote."""
    constants = read_constants(path)
    axes = axes_of(constants["frequencies"])
    head, width = sum(axes), len(constants["time_out.weight"])
    doubles, singles = (
        len({name.split(".")[1] for name in constants if name.startswith(f"{kind}.")}) for kind in ("double", "single")
    )
    model = FluxTransformer2DModel(
        patch_size=1,
        in_channels=constants["image_in.weight"].shape[0],
        num_layers=doubles,
        num_single_layers=singles,
        attention_head_dim=head,
        num_attention_heads=width // head,
        joint_attention_dim=constants["text_in.weight"].shape[0],
        pooled_projection_dim=constants["pooled_in.weight"].shape[0],
        guidance_embeds=False,
        axes_dims_rope=axes,
    ).eval()
    with torch.no_grad():
        Reader(constants, head, width).fill(model)
    return model


class Reader:
    """Copies constants of a graph into the layers they came from. `head` and `width` are in values."""

    def __init__(self, constants: dict[str, torch.Tensor], head: int, width: int):
        self.constants, self.width = constants, width
        # position of value i of a head in the file's order, for all heads
        halves = torch.cat([torch.arange(0, head, 2), torch.arange(1, head, 2)])
        self.back, self.head = torch.argsort(halves), head
        self.rows = (torch.arange(0, width, head)[:, None] + self.back).reshape(-1)

    def layer(self, name: str, linear: torch.nn.Linear) -> None:
        linear.weight.copy_(self.constants[f"{name}.weight"].T)
        linear.bias.copy_(self.constants[f"{name}.bias"])

    def stream(self, name: str, q, k, v, norm_q, norm_k) -> None:
        weight, bias = self.constants[f"{name}.qk.weight"].T, self.constants[f"{name}.qk.bias"]
        for linear, of_weight, of_bias in zip((q, k), weight.chunk(2), bias.chunk(2), strict=True):
            linear.weight.copy_(of_weight[self.rows])
            linear.bias.copy_(of_bias[self.rows])
        self.layer(f"{name}.v", v)
        heads = self.width // self.head
        for norm, values in zip((norm_q, norm_k), self.constants[f"{name}.qk_norm"].split(heads), strict=True):
            norm.weight.copy_(values[0][self.back])

    def double(self, name: str, block) -> None:
        a = block.attn
        for part, (q, k, v, norm_q, norm_k, out, mlp) in {
            "image": (a.to_q, a.to_k, a.to_v, a.norm_q, a.norm_k, a.to_out[0], block.ff),
            "text": (
                a.add_q_proj,
                a.add_k_proj,
                a.add_v_proj,
                a.norm_added_q,
                a.norm_added_k,
                a.to_add_out,
                block.ff_context,
            ),
        }.items():
            self.stream(f"{name}.{part}", q, k, v, norm_q, norm_k)
            self.layer(f"{name}.{part}.out", out)
            self.layer(f"{name}.{part}.mlp_in", mlp.net[0].proj)
            self.layer(f"{name}.{part}.mlp_out", mlp.net[2])

    def single(self, name: str, block) -> None:
        a = block.attn
        self.stream(name, a.to_q, a.to_k, a.to_v, a.norm_q, a.norm_k)
        self.layer(f"{name}.mlp_in", block.proj_mlp)
        halves = [self.constants[f"{name}.out_{part}.weight"].T for part in ("attention", "mlp")]
        block.proj_out.weight.copy_(torch.cat(halves, 1))
        block.proj_out.bias.copy_(self.constants[f"{name}.out_attention.bias"])

    def modulations(self, model: FluxTransformer2DModel) -> None:
        """Shift, scale, gate of attention, then of the MLP; scale first at the end. The 1 of scale is taken off."""
        zero, one = torch.zeros(self.width), torch.ones(self.width)
        adapts = [zero, one, zero]
        parts = []
        for block in model.transformer_blocks:
            parts += [(block.norm1.linear, 2 * adapts), (block.norm1_context.linear, 2 * adapts)]
        parts += [(block.norm.linear, adapts) for block in model.single_transformer_blocks]
        parts.append((model.norm_out.linear, [one, zero]))
        sizes = [len(offsets) * self.width for _, offsets in parts]
        weights = self.constants["modulation.weight"].T.split(sizes)
        biases = self.constants["modulation.bias"].split(sizes)
        for (linear, offsets), weight, bias in zip(parts, weights, biases, strict=True):
            linear.weight.copy_(weight)
            linear.bias.copy_(bias - torch.cat(offsets))

    def fill(self, model: FluxTransformer2DModel) -> None:
        embed = model.time_text_embed
        self.layer("image_in", model.x_embedder)
        self.layer("text_in", model.context_embedder)
        self.layer("pooled_in", embed.text_embedder.linear_1)
        self.layer("time_in", embed.timestep_embedder.linear_1)
        self.layer("pooled_out", embed.text_embedder.linear_2)
        # the file holds the sum of both biases
        embed.timestep_embedder.linear_2.weight.copy_(self.constants["time_out.weight"].T)
        embed.timestep_embedder.linear_2.bias.zero_()
        self.modulations(model)
        for i, block in enumerate(model.transformer_blocks):
            self.double(f"double.{i}", block)
        for i, block in enumerate(model.single_transformer_blocks):
            self.single(f"single.{i}", block)
        self.layer("out", model.proj_out)


class EmbeddedText:
    """The embedded model's text encoder in ONNX Runtime. Reads words it knows; its tokenizer's pieces for others."""

    def __init__(self, folder: Path, text_tokens: int):
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.graph = onnxruntime.InferenceSession(folder / "text_encoder.onnx", providers=["CPUExecutionProvider"])
        self.text_tokens = text_tokens

    def tokens_of(self, component: str) -> int:
        return self.text_tokens

    def encode(self, prompt: str) -> Encoded:
        ids = self.tokenizer.encode(prompt).ids[: self.text_tokens]
        names = ["encoder_hidden_states", "pooled_projections"]
        states, pooled = self.graph.run(names, {"input_ids": np.array([ids], np.int64)})
        return Encoded(torch.from_numpy(states), torch.from_numpy(pooled), ())


class EmbeddedDecoder(torch.nn.Module):
    """The embedded model's decoder in ONNX Runtime, called as diffusers' autoencoders are."""

    dtype = torch.float32

    def __init__(self, path: Path):
        super().__init__()
        self.graph = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        # what the latents are scaled and shifted by is inside the graph
        self.config = SimpleNamespace(scaling_factor=1.0, shift_factor=0.0)

    def decode(self, latents: torch.Tensor, return_dict: bool) -> tuple[torch.Tensor]:
        (picture,) = self.graph.run(["sample"], {"latent_sample": latents.numpy()})
        return (torch.from_numpy(picture),)


def load_embedded(folder: Path) -> DiffusersModel:
    """The embedded model with its transformer in PyTorch and the rest in ONNX Runtime, on the CPU.

    Its facts are those of the manifest, so that requests for the one server fit the other.
    """
    facts = json.loads((folder / "manifest.json").read_text())["facts"]
    transformer = read_transformer(folder / "transformer.onnx")
    device = torch.device("cpu")
    model = DiffusersModel(
        facts={**facts, "family": "flux.1", "digest": "embedded", "caches": ["taylor_blocks", "taylor_velocity"]},
        engine_class=describe_engine(device, torch.float32, quantize="none", offload="none", compiles=False),
        deterministic=True,
        device=device,
        adapter=Flux(transformer),
        text=EmbeddedText(folder, facts["text_tokens"]),
        vae=EmbeddedDecoder(folder / "decoder.onnx"),
    )
    model.fit_colours()
    return model
