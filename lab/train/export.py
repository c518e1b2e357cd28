"""The trained model → the folder that the stage server loads: four ONNX graphs, tokenizer.json, emoji.json,
manifest.json. A graph that is too large for a file has parts beside it (graph_files.py).

    python lab/train/export.py (needs what prepare.py and train.py wrote)

The moving average of the weights is what ships. Attention's and the MLPs' matrices are kept in int8 with one scale for
32 inputs of an output, everything else that is large in fp16; behind both the graph casts back, and the runtime folds
that when it loads and computes in float32. Every graph is checked against PyTorch with the weights as they are kept,
and what keeping them so costs is measured against the weights as they were trained. With --reference also the numbers
that test/engine holds both engines to. card.md, NOTICE and LICENSE are written by hand.
"""

import argparse
import itertools
import json
import os
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn as nn
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save
from tokenizers import Tokenizer

import emoji_names
import flux_graph
import graph_files
import latents
import prompts
import scenes
import text
import trained
import transformer
import vocabulary
from vocabulary import Vocabulary

ID = "fluent-scenes"
STEPS = 50
GROUP = 32
TOLERANCE = 2e-5  # of ONNX Runtime from PyTorch, largest difference relative to the largest value
COST = 0.03  # of the weights' storage, mean difference relative to the mean value
LARGEST = 16 * 2**20  # bytes of a file in git
ALL = 40_000_000  # bytes of the folder's files
LATENTS = 1e-5  # of the encoder in ONNX Runtime from PyTorch, largest difference relative to the largest value

PROMPTS = ["a red apple", "Two foxes to the left of a tiny zebra, on a background fading from blue to pink!"]
GRIDS = {64: latents.grid_ids(8, 8), 128: latents.grid_ids(32, 32)[-128:], 256: latents.grid_ids(16, 16)}
# tokens, sigma, index of the prompt or -1 for none
CASES = [
    (64, 1.0, 0),
    (64, 0.86, 1),
    (64, 0.86, -1),
    (82, 0.9, 0),
    (82, 0.55, 1),
    (128, 0.3, 1),
    (256, 1.0, 1),
    (256, 0.5, 0),
    (256, 0.05, 0),
]


# ---- weights as they are kept ----


def to_int8(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """weight [inputs, outputs] as int8 [inputs / 32, 32, outputs] and fp16 scales [inputs / 32, 1, outputs]. Law: what
    `from_int8` gives back is kept without loss.
    """
    groups = weight.reshape(-1, GROUP, weight.shape[1])
    scales = np.maximum(np.abs(groups).max(1, keepdims=True) / 127, 2.0**-14).astype(np.float16)
    return np.clip(np.round(groups / scales.astype(np.float32)), -127, 127).astype(np.int8), scales


def from_int8(values: np.ndarray, scales: np.ndarray) -> np.ndarray:
    return (values.astype(np.float32) * scales.astype(np.float32)).reshape(-1, values.shape[2])


def is_int8(name: str, weight: torch.Tensor) -> bool:
    """Matrices inside the blocks of transformer and text encoder. Modulations are not: each of their errors reaches
    every token.
    """
    return weight.ndim == 2 and ("transformer_blocks." in name or "layers." in name) and "norm" not in name


@torch.no_grad()
def keep(module: nn.Module) -> nn.Module:
    """The module with every weight as its file will hold it."""
    for name, weight in module.named_parameters():
        if is_int8(name, weight):
            weight.copy_(torch.from_numpy(from_int8(*to_int8(weight.T.contiguous().numpy()))).T)
        elif weight.numel() >= 1024:
            weight.copy_(weight.half())
    return module


def shrink(model: onnx.ModelProto, smallest: int = 1024) -> onnx.ModelProto:
    """The model with each large float32 constant in the smallest form that holds it without loss, and cast back in the
    graph.
    """
    graph, casts = model.graph, []
    for constant in list(graph.initializer):
        if constant.data_type != TensorProto.FLOAT:
            continue
        values, name = numpy_helper.to_array(constant), constant.name
        if values.size < smallest:
            continue
        is_matrix = values.ndim == 2 and values.shape[0] % GROUP == 0
        if is_matrix and np.array_equal(from_int8(*(kept := to_int8(values))), values):
            made = {f"{name}_int8": kept[0], f"{name}_scale": kept[1], f"{name}_shape": np.array(values.shape)}
            casts += [
                helper.make_node("Cast", [f"{name}_int8"], [f"{name}_whole"], to=TensorProto.FLOAT),
                helper.make_node("Cast", [f"{name}_scale"], [f"{name}_factor"], to=TensorProto.FLOAT),
                helper.make_node("Mul", [f"{name}_whole", f"{name}_factor"], [f"{name}_groups"]),
                helper.make_node("Reshape", [f"{name}_groups", f"{name}_shape"], [name]),
            ]
        elif np.array_equal(values.astype(np.float16).astype(np.float32), values):
            made = {f"{name}_fp16": values.astype(np.float16)}
            casts.append(helper.make_node("Cast", [f"{name}_fp16"], [name], to=TensorProto.FLOAT))
        else:
            continue
        graph.initializer.remove(constant)
        graph.initializer.extend(numpy_helper.from_array(value, key) for key, value in made.items())
    nodes = casts + list(graph.node)
    del graph.node[:]
    graph.node.extend(nodes)
    return model


# ---- graphs ----


def strip(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without the exporter's traces: they hold file paths and are as large as the graph."""
    model.producer_name, model.producer_version, model.doc_string, model.graph.doc_string = "", "", "", ""
    del model.metadata_props[:], model.graph.metadata_props[:], model.graph.value_info[:]
    for each in [*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer]:
        each.doc_string = ""
        del each.metadata_props[:]
    return model


def exported(module: nn.Module, inputs: dict, dynamic: dict, outputs: list[str], path: str) -> onnx.ModelProto:
    """One module as PyTorch exports it; `inputs`, in its order, and `dynamic` are by name."""
    torch.onnx.export(
        module.eval(),
        tuple(inputs.values()),
        path,
        dynamo=True,
        opset_version=20,
        external_data=False,
        verbose=False,
        input_names=list(inputs),
        output_names=outputs,
        dynamic_shapes=tuple(dynamic[name] for name in inputs),
    )
    return strip(onnx.load(path))


def write(model: onnx.ModelProto, path: str, largest: int = LARGEST) -> dict:
    """Writes one graph, in parts where it is above `largest` bytes; its entry in the manifest."""
    model = shrink(model)
    onnx.checker.check_model(model, full_check=True)
    return graph_files.write(model, path, largest)


def write_encoder(encoder: nn.Module, path: str, largest: int = LARGEST) -> dict:
    """Writes the graph from sample [1, 3, 8h, 8w] in [-1, 1] to latent_sample [1, 16, h, w], the latents as the
    transformer knows them, in float32, since it is small; its entry in the manifest. Asserts that it equals PyTorch.
    """
    model = exported(
        encoder,
        {"sample": torch.randn(1, 3, 144, 176)},
        # a multiple of the patch's side
        {"sample": {2: 8 * torch.export.Dim("h"), 3: 8 * torch.export.Dim("w")}},
        ["latent_sample"],
        path,
    )
    onnx.checker.check_model(model, full_check=True)
    entry = graph_files.write(model, path, largest)
    session = onnxruntime.InferenceSession(path)
    for height, width in ((8, 8), (64, 64), (128, 256)):
        sample = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(height)) * 2 - 1
        want = encoder(sample).numpy()
        got = session.run(None, {"sample": sample.numpy()})[0]
        assert got.shape == want.shape == (1, 16, height // 8, width // 8), (got.shape, want.shape)
        difference = float(np.abs(got - want).max() / np.abs(want).max())
        assert difference <= LATENTS, difference
    return entry


# ---- facts ----


def linear_and_conv_flops(module: nn.Module, *inputs, **named) -> int:
    """2 per multiply-add of every Linear and Conv2d that one call runs."""
    total = 0

    def count(layer, _, output):
        nonlocal total
        total += 2 * layer.weight[0].numel() * output.numel()

    hooks = [
        layer.register_forward_hook(count) for layer in module.modules() if isinstance(layer, (nn.Linear, nn.Conv2d))
    ]
    module(*inputs, **named)
    for hook in hooks:
        hook.remove()
    return total


def flop_facts(model: transformer.Velocity, decoder: nn.Module) -> dict:
    """Facts as `flopFacts` of src/stage/contract.ts wants them, for a text of `text.USUAL_TOKENS`: texts are not
    padded. Attention is q·k and its product with v: 4 (n + t)² d a block.
    """
    config, t = model.transformer.config, text.USUAL_TOKENS

    def step(n):
        return linear_and_conv_flops(
            model.transformer,
            hidden_states=torch.zeros(1, n, config.in_channels),
            encoder_hidden_states=torch.zeros(1, t, text.WIDTH),
            timestep=torch.ones(1),
            pooled_projections=torch.zeros(1, text.WIDTH),
            img_ids=torch.zeros(n, 3),
            txt_ids=torch.zeros(t, 3),
            return_dict=False,
        )

    per_token = step(2) - step(1)
    fixed = step(1) - per_token
    assert step(64) == fixed + 64 * per_token
    attention = (
        4 * config.num_attention_heads * config.attention_head_dim * (config.num_layers + config.num_single_layers)
    )
    decoding, area = linear_and_conv_flops(decoder, torch.zeros(1, 16, 4, 4)), 32 * 32
    assert decoding % area == 0
    return {
        "per_token": per_token + 2 * attention * t,
        "per_token_squared": attention,
        "fixed": fixed + attention * t**2,
        "attention_per_token": 2 * attention * t,
        "attention_fixed": attention * t**2,
        "decode_per_pixel": decoding // area,
        "text": linear_and_conv_flops(model.text, torch.zeros(1, t, dtype=torch.int64))
        + 4 * text.WIDTH * len(model.text.layers) * t**2,
    }


def facts(
    model: transformer.Velocity, decoder: nn.Module, known: Vocabulary, sizes: list[tuple[int, int]], can: str
) -> dict:
    millions = sum(p.numel() for p in model.transformer.parameters()) / 1e6
    return {
        "id": ID,
        "aliases": [],
        "channels": 16,
        "token_pixels": 16,
        "sizes": [{"width": width, "height": height} for width, height in sizes],
        "shift": [{"tokens": max(width * height for width, height in sizes) // 256, "shift": transformer.SHIFT}],
        "steps": STEPS,
        # chosen on the evaluation's set A (docs/method.md)
        "presets": [{"name": "7x-two-stage", "N": [3, 6], "e": [0.2, 1], "r": []}],
        "guidance": None,
        "negative_prompt": False,
        "text_tokens": text.MAX_TOKENS,
        "max_tokens": max(width * height for width, height in sizes) // 256,
        "scripts": ["Latin"],
        "vocabulary": prompts.stated(known),
        "examples": prompts.examples(known, seed=0),
        "flops": flop_facts(model, decoder),
        "licence": "MIT",
        "card": f"{can}: {len(known.names)} objects, {len(scenes.COLOURS)} colours,"
        f" {len(scenes.BACKGROUNDS)} backgrounds."
        f" FLUX's architecture with {millions:.1f} M parameters, trained on Fluent emoji (MIT).",
    }


def unlearned(tokenizer: dict, learned: list[str]) -> list[str]:
    """Tokens of a `tokenizer.json` that are a word's beginning, or all of it, and no word of the captions."""
    return sorted(token for token in emoji_names.words_of(tokenizer) - set(learned) if re.fullmatch("[a-z0-9]+", token))


# ---- numbers to compare with ----


def mixed_ids(side: int, selected: list[int]) -> torch.Tensor:
    """Ids of a mixed set: the kept tokens of a side x side grid, then four half-step children of each selected one."""
    ids = latents.grid_ids(side, side)
    child = torch.tensor([[0, 0, 0], [0, 0, 0.5], [0, 0.5, 0], [0, 0.5, 0.5]])
    return torch.cat(
        [ids[[i for i in range(side * side) if i not in selected]], (ids[selected][:, None] + child).reshape(-1, 3)]
    )


def velocity(
    model: transformer.Velocity, x: torch.Tensor, sigma: float, input_ids: list[int], img_ids: torch.Tensor
) -> torch.Tensor:
    return model(x[None], torch.tensor([sigma]), torch.tensor([input_ids]), img_ids)[0]


def reference(model: transformer.Velocity, decoder: nn.Module, tokenizer: Tokenizer) -> dict[str, np.ndarray]:
    """Inputs and PyTorch's float32 outputs, by name."""
    noise, tensors = torch.Generator().manual_seed(7), {}
    ids = {-1: text.encode("", tokenizer), **{i: text.encode(prompt, tokenizer) for i, prompt in enumerate(PROMPTS)}}
    for i, each in ids.items():
        hidden, pooled = model.text(torch.tensor([each]))
        name = "text.empty" if i < 0 else f"text.{i}"
        tensors[f"{name}.hidden"], tensors[f"{name}.pooled"] = hidden[0], pooled[0]
    for n, grid in {**GRIDS, 82: mixed_ids(8, [9, 18, 27, 36, 45, 54])}.items():
        tensors[f"latents.{n}"], tensors[f"ids.{n}"] = torch.randn(n, 64, generator=noise), grid
    for i, (n, sigma, prompt) in enumerate(CASES):
        tensors[f"velocity.{i}"] = velocity(model, tensors[f"latents.{n}"], sigma, ids[prompt], tensors[f"ids.{n}"])

    # eight steps to a real latent, so that the decoder is asked for a picture and not for noise
    x, sigmas = torch.randn(64, 64, generator=noise), torch.linspace(1, 0, 9).tolist()
    for a, b in itertools.pairwise(sigmas):
        x = x + (b - a) * velocity(model, x, a, ids[0], GRIDS[64])
    rgb = decoder(latents.unpack(x[None], 8, 8))[0].clamp(-1, 1).permute(1, 2, 0)
    tensors["decode.latents"], tensors["decode.rgb"] = x, ((rgb + 1) * 127.5).round().to(torch.uint8)
    return {key: value.contiguous().numpy() for key, value in tensors.items()}


def check(folder: str, tensors: dict, model: transformer.Velocity, tokens: int) -> float:
    """The largest relative difference of the written graphs in ONNX Runtime from PyTorch; asserts the tolerance."""
    graphs = {
        name: onnxruntime.InferenceSession(os.path.join(folder, f"{name}.onnx"))
        for name in ("text_encoder", "transformer", "decoder")
    }
    worst = 0.0

    def compare(got, want):
        nonlocal worst
        assert got.shape == want.shape, (got.shape, want.shape)
        worst = max(worst, float(np.abs(got - want).max() / np.abs(want).max()))
        assert worst <= TOLERANCE, worst

    # every length, because an exporter may have taken the example's for a constant
    for t in range(1, text.MAX_TOKENS + 1):
        input_ids = torch.randint(0, tokens, (1, t))
        found = graphs["text_encoder"].run(None, {"input_ids": input_ids.numpy()})
        for got, want in zip(found, model.text(input_ids), strict=True):
            compare(got, want.numpy())
    for i, (n, sigma, prompt) in enumerate(CASES):
        name = "text.empty" if prompt < 0 else f"text.{prompt}"
        hidden = tensors[f"{name}.hidden"]
        feeds = {
            "hidden_states": tensors[f"latents.{n}"][None],
            "encoder_hidden_states": hidden[None],
            "pooled_projections": tensors[f"{name}.pooled"][None],
            "timestep": np.float32([sigma]),
            "img_ids": tensors[f"ids.{n}"],
            "txt_ids": np.zeros((len(hidden), 3), np.float32),
        }
        compare(graphs["transformer"].run(None, feeds)[0][0], tensors[f"velocity.{i}"])
    image = latents.unpack(torch.from_numpy(tensors["decode.latents"])[None], 8, 8).numpy()
    rgb = graphs["decoder"].run(None, {"latent_sample": image})[0][0].clip(-1, 1).transpose(1, 2, 0)
    assert np.abs((rgb + 1) * 127.5 - tensors["decode.rgb"]).max() < 0.51
    return worst


def storage_cost(
    trained: transformer.Velocity, kept: transformer.Velocity, tensors: dict, tokenizer: Tokenizer
) -> tuple[float, float]:
    """(largest, mean) difference of the velocity that keeping weights small makes, relative to the largest and the mean
    value; worst over the cases.
    """
    largest, mean = 0.0, 0.0
    for i, (n, sigma, prompt) in enumerate(CASES):
        want = velocity(
            trained,
            torch.from_numpy(tensors[f"latents.{n}"]),
            sigma,
            text.encode("" if prompt < 0 else PROMPTS[prompt], tokenizer),
            torch.from_numpy(tensors[f"ids.{n}"]),
        ).numpy()
        difference = np.abs(tensors[f"velocity.{i}"] - want)
        largest, mean = (
            max(largest, difference.max() / np.abs(want).max()),
            max(mean, difference.mean() / np.abs(want).mean()),
        )
    return float(largest), float(mean)


# ---- the folder ----


def write_json(path: str, value) -> None:
    with open(path, "w") as file:
        file.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--data", type=Path, default=Path(".ralu/train/data"), help="what prepare.py wrote")
    args.add_argument("--from", type=Path, default=Path(".ralu/train/out"), dest="source", help="what came back")
    args.add_argument("--out", default=".ralu/model", help="the model's folder")
    args.add_argument(
        "--sizes", default="512x512,256x256,512x256,256x512", help="WIDTHxHEIGHT offered; the first is the default"
    )
    args.add_argument(
        "--can",
        default="Draws one to four emoji on a plain or graded background from a caption such as"
        " 'a blue apple to the left of a fox on a yellow background'",
        help="the first sentence of what the model says of itself, as the evaluation bears it out",
    )
    args.add_argument(
        "--reference",
        nargs="?",
        const="test/engine/reference.safetensors",
        help="also write the numbers that test/engine compares with",
    )
    a = args.parse_args()
    torch.manual_seed(0)
    torch.set_grad_enabled(False)
    os.makedirs(a.out, exist_ok=True)

    def at(name: str) -> str:
        return os.path.join(a.out, name)

    as_trained = trained.load(a.data, a.source)[0]
    model, encoder, decoder, tokenizer, _ = trained.load(a.data, a.source)
    known = vocabulary.load(json.loads((a.data / "recipe.json").read_text())["vocabulary"])
    keep(model)
    keep(decoder)

    graphs = {
        "text_encoder": write(
            exported(
                model.text,
                {"input_ids": torch.ones(1, 3, dtype=torch.int64)},
                {"input_ids": {1: "t"}},
                ["encoder_hidden_states", "pooled_projections"],
                at("text_encoder.onnx"),
            ),
            at("text_encoder.onnx"),
        ),
        "transformer": write(flux_graph.flux_graph(model.transformer), at("transformer.onnx")),
        "decoder": write(
            exported(
                decoder,
                {"latent_sample": torch.randn(1, 16, 18, 22)},
                {"latent_sample": {2: "h", 3: "w"}},
                ["sample"],
                at("decoder.onnx"),
            ),
            at("decoder.onnx"),
        ),
        "encoder": write_encoder(encoder, at("encoder.onnx")),
    }
    write_json(at("tokenizer.json"), json.loads(tokenizer.to_str()))
    tensors = reference(model, decoder, tokenizer)
    worst = check(a.out, tensors, model, tokenizer.get_vocab_size())
    largest, mean = storage_cost(as_trained, model, tensors, tokenizer)
    assert mean < COST, mean

    emoji_names.write_names(Path(a.out), known)
    of_graphs = [name for graph in graphs.values() for name in (graph["file"], *graph.get("parts", []))]
    files = {name: Path(at(name)).read_bytes() for name in (*of_graphs, "tokenizer.json", emoji_names.FILE)}
    assert all(len(content) <= LARGEST for content in files.values()), "a file is above 16 MiB"
    total = sum(len(content) for content in files.values())
    assert total <= ALL, f"the files have {total} bytes, above {ALL}"
    write_json(
        at("manifest.json"),
        {
            "format": 1,
            "facts": facts(
                model, decoder, known, [tuple(map(int, size.split("x"))) for size in a.sizes.split(",")], a.can
            ),
            "tokenizer": {
                "file": "tokenizer.json",
                "whole_words": True,
                "unlearned": unlearned(json.loads(tokenizer.to_str()), prompts.caption_words(known)),
                "emoji": emoji_names.FILE,
            },
            "graphs": graphs,
            "files": {name: emoji_names.listed(content) for name, content in files.items()},
        },
    )
    if a.reference:
        # one key: the library writes several in a random order
        about = {
            "prompts": PROMPTS,
            "cases": CASES,
            "made_by": f"lab/train/export.py, PyTorch {torch.__version__}, CPU, float32",
        }
        with open(a.reference, "wb") as file:
            file.write(save(tensors, {"about": json.dumps(about)}))
    print(f"ONNX Runtime differs from PyTorch by at most {worst:.1e} of the largest value")
    print(
        f"weights kept small: velocity differs from the trained weights' by {100 * mean:.2f} % of the mean value,"
        f" at most {100 * largest:.2f} % of the largest"
    )
    print(", ".join(f"{name} {len(content) / 1e6:.2f} MB" for name, content in files.items()))


if __name__ == "__main__":
    main()
