"""Seed model weights -> models/<id>/ (ONNX graphs, tokenizer, manifest) and the reference numbers its tests are held to.

    python scripts/export/export_seed.py --source DIR --out models/fluent-seed --reference test/engine/reference.safetensors

DIR holds transformer, decoder and text_encoder.safetensors, vocab.json and latent_stats.json. card.md, NOTICE and LICENSE in the output folder
are written by hand and left alone. The same source and versions (requirements.txt) give the same bytes.
Weights are stored in fp16, as they came, behind a Cast to fp32; the runtime folds the casts when it loads the graph and computes in fp32.
"""
import argparse
import hashlib
import json
import os

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save

import seed_model as seed
from transformer_graph import transformer_graph

ID = "fluent-seed"
TOLERANCE = 2e-5  # largest difference of ONNX Runtime from PyTorch, relative to the largest value

PROMPTS = ["a red apple", "Fox face, on a TEAL background!"]
# tokens, sigma, index of the prompt or -1 for none: one case each of velocity
CASES = [(64, 1.0, 0), (64, 0.86, 1), (64, 0.86, -1), (82, 0.9, 0), (82, 0.55, 1), (256, 1.0, 1), (256, 0.5, 0), (256, 0.05, 0)]


def to_fp16_weights(model, smallest=1024):
    """The model with every float32 initialiser of at least `smallest` values that fp16 holds exactly stored as fp16 and cast back in the graph."""
    graph, casts = model.graph, []
    for initializer in list(graph.initializer):
        values = numpy_helper.to_array(initializer)
        if initializer.data_type != TensorProto.FLOAT or values.size < smallest or not np.array_equal(values.astype(np.float16).astype(np.float32), values):
            continue
        name = initializer.name
        graph.initializer.remove(initializer)
        graph.initializer.append(numpy_helper.from_array(values.astype(np.float16), f"{name}_fp16"))
        casts.append(helper.make_node("Cast", [f"{name}_fp16"], [name], to=TensorProto.FLOAT))
    nodes = casts + list(graph.node)
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def strip(model):
    """The model without the exporter's traces: they hold file paths and are as large as the graph."""
    model.producer_name, model.producer_version, model.doc_string = "", "", ""
    del model.metadata_props[:], model.graph.metadata_props[:], model.graph.value_info[:]
    model.graph.doc_string = ""
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in [*model.graph.input, *model.graph.output, *model.graph.initializer]:
        value.doc_string = ""
        del value.metadata_props[:]
    return model


def export(module, inputs, dynamic, outputs, path, opset):
    """Writes one module as PyTorch exports it. `inputs` and `dynamic` are by name; sizes of an input's named axes may be anything, 0 included for text."""
    torch.onnx.export(module, tuple(inputs.values()), path, dynamo=True, opset_version=opset, external_data=False, verbose=False,
                      input_names=list(inputs), output_names=outputs, dynamic_shapes=dynamic)  # fmt: skip
    return write(strip(onnx.load(path)), path)


def write(model, path):
    """Writes one graph with its weights in fp16; its entry in the manifest."""
    model = to_fp16_weights(model)
    onnx.checker.check_model(model, full_check=True)
    with open(path, "wb") as file:
        file.write(model.SerializeToString(deterministic=True))
    return {"file": os.path.basename(path), "inputs": [value.name for value in model.graph.input], "outputs": [value.name for value in model.graph.output]}


def tokenizer_json(vocabulary):
    """A tokenizer.json of whole words: lower-cased runs of [a-z0-9]. WordPiece without continuation pieces is a word-level vocabulary, and row 0 belongs to no word."""
    rows = {"<unk>" if row == 0 else word: row for word, row in vocabulary.items()}
    longest = max(len(word) for word in vocabulary)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "[a-z0-9]+"}, "behavior": "Removed", "invert": True},
        "post_processor": None,
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": False},
        "model": {"type": "WordPiece", "unk_token": "<unk>", "continuing_subword_prefix": "##", "max_input_chars_per_word": longest, "vocab": rows},
    }


def linear_and_conv_flops(module, *inputs):
    """2 per multiply-add of every Linear and Conv2d one call runs."""
    total = 0

    def count(layer, _, output):
        nonlocal total
        weights = layer.weight[0].numel()
        total += 2 * weights * output.numel()

    hooks = [layer.register_forward_hook(count) for layer in module.modules() if isinstance(layer, (torch.nn.Linear, torch.nn.Conv2d))]
    module(*inputs)
    for hook in hooks:
        hook.remove()
    return total


def flop_facts(text_encoder, transformer, decoder, text_tokens):
    """Facts as `flopFacts` of src/stage/contract.ts wants them, for the longest text. Attention is q·k and its product with v: 4 (n + L)² d a block."""

    def step(n, t):
        return linear_and_conv_flops(transformer, torch.zeros(1, n, seed.TOKEN), torch.zeros(1, t, seed.HIDDEN), torch.zeros(1, seed.HIDDEN), torch.ones(1), torch.zeros(n, 3))

    per_token = step(65, text_tokens) - step(64, text_tokens)
    fixed = step(64, text_tokens) - 64 * per_token
    assert step(256, text_tokens) == fixed + 256 * per_token
    attention = 4 * seed.HIDDEN * seed.LAYERS
    pixels = 128 * 128
    return {
        "per_token": per_token + 2 * attention * text_tokens,
        "per_token_squared": attention,
        "fixed": fixed + attention * text_tokens**2,
        "attention_per_token": 2 * attention * text_tokens,
        "attention_fixed": attention * text_tokens**2,
        "decode_per_pixel": linear_and_conv_flops(decoder, torch.zeros(1, seed.CHANNELS, 16, 16)) // pixels,
        "text": linear_and_conv_flops(text_encoder, torch.ones(1, text_tokens, dtype=torch.int64)),
    }


def mixed_ids(side, selected):
    """Ids of a stage-2 set: the kept tokens of a side x side grid, then four half-step children of each selected one."""
    ids = seed.grid(side, side)
    kept = torch.tensor([i for i in range(side * side) if i not in selected])
    child = torch.tensor([[0, 0, 0], [0, 0, 0.5], [0, 0.5, 0], [0, 0.5, 0.5]])
    return torch.cat([ids[kept], (ids[torch.tensor(selected)][:, None] + child).reshape(-1, 3)])


def reference(text_encoder, transformer, decoder, vocabulary, mean, std):
    """Inputs and PyTorch's float32 outputs, by name, and the prompts they belong to."""
    noise = torch.Generator().manual_seed(7)
    tensors, texts = {}, []
    for i, prompt in enumerate(PROMPTS):
        input_ids = torch.tensor([[vocabulary[word] for word in seed.words(prompt) if word in vocabulary][: seed.TEXT]])
        texts.append(text_encoder(input_ids))
        tensors[f"text.{i}.hidden"], tensors[f"text.{i}.pooled"] = texts[i][0][0], texts[i][1][0]
    texts.append(text_encoder(torch.zeros(1, 0, dtype=torch.int64)))
    tensors["text.empty.pooled"] = texts[-1][1][0]

    ids = {64: seed.grid(8, 8), 82: mixed_ids(8, [9, 18, 27, 36, 45, 54]), 256: seed.grid(16, 16)}
    for n in ids:
        tensors[f"latents.{n}"], tensors[f"ids.{n}"] = torch.randn(n, seed.TOKEN, generator=noise), ids[n]
    for i, (n, sigma, text) in enumerate(CASES):
        tensors[f"velocity.{i}"] = transformer(tensors[f"latents.{n}"][None], *texts[text], torch.tensor([sigma]), ids[n])[0]

    # eight steps to a real latent, so that the decoder is asked for a picture and not for noise
    x, sigmas = torch.randn(1, 64, seed.TOKEN, generator=noise), torch.linspace(1, 0, 9)
    for a, b in zip(sigmas[:-1], sigmas[1:]):
        x = x + (b - a) * transformer(x, *texts[0], a[None], ids[64])
    rgb = decoder(seed.unpack(x, 8, 8) * std + mean)[0].clamp(-1, 1).permute(1, 2, 0)
    tensors["decode.latents"], tensors["decode.rgb"] = x[0], ((rgb + 1) * 127.5).round().to(torch.uint8)
    return {key: value.contiguous().numpy() for key, value in tensors.items()}


def check(folder, tensors, text_encoder, vocabulary):
    """Runs the written graphs in ONNX Runtime against PyTorch; returns the largest relative difference and asserts the tolerance."""
    graphs = {name: onnxruntime.InferenceSession(os.path.join(folder, f"{name}.onnx")) for name in ("text_encoder", "transformer", "decoder")}
    worst = 0.0

    def compare(got, want):
        nonlocal worst
        assert got.shape == want.shape, (got.shape, want.shape)
        difference = float(np.abs(got - want).max() / np.abs(want).max()) if want.size else 0.0
        assert difference <= TOLERANCE, difference
        worst = max(worst, difference)

    for t in range(seed.TEXT + 1):  # every length, because an exporter may have taken the example's for a constant
        input_ids = torch.randint(1, len(vocabulary), (1, t))
        for got, want in zip(graphs["text_encoder"].run(None, {"input_ids": input_ids.numpy()}), text_encoder(input_ids)):
            compare(got, want.numpy())
    for i, (n, sigma, text) in enumerate(CASES):
        feeds = {
            "hidden_states": tensors[f"latents.{n}"][None],
            "encoder_hidden_states": np.zeros((1, 0, seed.HIDDEN), np.float32) if text < 0 else tensors[f"text.{text}.hidden"][None],
            "pooled_projections": tensors["text.empty.pooled" if text < 0 else f"text.{text}.pooled"][None],
            "timestep": np.float32([sigma]),
            "img_ids": tensors[f"ids.{n}"],
        }
        compare(graphs["transformer"].run(None, feeds)[0][0], tensors[f"velocity.{i}"])
    latents = seed.unpack(torch.from_numpy(tensors["decode.latents"])[None], 8, 8).numpy()
    rgb = graphs["decoder"].run(None, {"latent_sample": latents})[0][0].clip(-1, 1).transpose(1, 2, 0)
    assert np.abs((rgb + 1) * 127.5 - tensors["decode.rgb"]).max() < 0.51
    return worst


def write_json(path, value):
    with open(path, "w") as file:
        file.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--source", "--out", "--reference"):
        parser.add_argument(name, required=True)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_grad_enabled(False)
    os.makedirs(arguments.out, exist_ok=True)
    text_encoder, transformer, decoder, vocabulary, mean, std = seed.load(arguments.source)
    tensors = reference(text_encoder, transformer, decoder, vocabulary, mean, std)

    def at(name):
        return os.path.join(arguments.out, name)

    graphs = {
        "text_encoder": export(seed.CountingTextEncoder(text_encoder).eval(), {"input_ids": torch.ones(1, 3, dtype=torch.int64)}, {"input_ids": {1: "t"}},
                               ["encoder_hidden_states", "pooled_projections"], at("text_encoder.onnx"), 20),
        "transformer": write(transformer_graph(transformer), at("transformer.onnx")),
        "decoder": export(seed.NormalisedDecoder(decoder, mean, std).eval(), {"latent_sample": torch.randn(1, seed.CHANNELS, 18, 22)}, {"latent_sample": {2: "h", 3: "w"}},
                          ["sample"], at("decoder.onnx"), 20),
    }  # fmt: skip
    write_json(at("tokenizer.json"), tokenizer_json(vocabulary))
    worst = check(arguments.out, tensors, text_encoder, vocabulary)

    files = [graph["file"] for graph in graphs.values()] + ["tokenizer.json"]
    contents = {name: open(at(name), "rb").read() for name in files}
    write_json(at("manifest.json"), {
        "format": 1,
        "facts": {
            "id": ID,
            "aliases": [],
            "channels": seed.CHANNELS,
            "token_pixels": 16,
            "sizes": [{"width": 256, "height": 256}],
            "shift": [{"tokens": 64, "shift": 1.5}, {"tokens": 256, "shift": 3}],
            "steps": 50,
            "guidance": None,
            "negative_prompt": False,
            "text_tokens": seed.TEXT,
            "max_tokens": 256,
            "flops": flop_facts(text_encoder, transformer, decoder, seed.TEXT),
            "licence": "MIT",
            "card": "Draws one object on a plain background, 256 x 256, from a caption like 'red apple on white background': 590 objects, 12 colours, 1670 words. "
                    "7.3 M parameters, trained on Fluent emoji (MIT). Silhouettes and colours are right, details are soft.",
        },
        "tokenizer": "tokenizer.json",
        "graphs": graphs,
        "files": {name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()} for name, content in contents.items()},
    })  # fmt: skip
    # one key: the library writes several in a random order
    metadata = {"about": json.dumps({"prompts": PROMPTS, "cases": CASES, "made_by": f"scripts/export/export_seed.py, PyTorch {torch.__version__}, CPU, float32"})}
    with open(arguments.reference, "wb") as file:
        file.write(save(tensors, metadata))
    print(f"largest relative difference from PyTorch {worst:.1e}; " + ", ".join(f"{name} {len(content)}" for name, content in contents.items()))


if __name__ == "__main__":
    main()
