"""What came back from a training: the moving averages of the weights, ready to use."""

from pathlib import Path

import torch.nn as nn
from safetensors.torch import load_file
from tokenizers import Tokenizer

import autoencoder
import checkpoint
import transformer


def load(data: Path, folder: Path) -> tuple[transformer.Velocity, autoencoder.Encoder, nn.Module, Tokenizer, dict]:
    """(velocity, encoder, decoder, tokenizer, the checkpoint's facts), in float32 and for evaluation. Raises ValueError
    where the folder has no checkpoint.
    """
    found = checkpoint.read(folder)
    if found is None:
        raise ValueError(f"{folder}: no {checkpoint.INDEX} there")
    tensors, facts = found
    tokenizer = Tokenizer.from_file(str(data / "tokenizer.json"))
    components = load_file(data / "components.safetensors")

    def part(name: str) -> dict:
        return {
            key.removeprefix(f"{name}."): value.float() if value.is_floating_point() else value
            for key, value in tensors.items()
            if key.startswith(f"{name}.")
        }

    model = transformer.Velocity(tokenizer.get_vocab_size(), transformer.CONFIGS[facts["size"]])
    model.load_state_dict(part("model"))
    decoder = autoencoder.Decoder()
    decoder.load_state_dict(part("decoder"))
    return model.eval(), autoencoder.encoder(components), decoder.eval(), tokenizer, facts
