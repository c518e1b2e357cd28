"""A sheet of pictures that a training draws by now, to look at: python lab/train/sheet.py

Prompts are the vocabulary's examples, twenty plain steps each, seeds fixed.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer
from torch import nn

import prompts
import trained
import transformer
import vocabulary


@torch.no_grad()
def sheet(
    model: transformer.Velocity, decoder: nn.Module, tokenizer: Tokenizer, captions: list[str], side: int
) -> Image.Image:
    """Pictures of `side` x `side` pixels, four a line, black where the last line has fewer."""
    z = transformer.sample(model, captions, tokenizer, side, side)
    pictures = torch.cat([decoder(each[None]) for each in z]).clamp(-1, 1)
    levels = pictures.add(1).mul(127.5).round().byte().permute(0, 2, 3, 1).numpy()
    canvas = np.zeros((-(-len(levels) // 4) * side, 4 * side, 3), np.uint8)
    for i, picture in enumerate(levels):
        y, x = i // 4 * side, i % 4 * side
        canvas[y : y + side, x : x + side] = picture
    return Image.fromarray(canvas)


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--data", type=Path, default=Path(".ralu/train/data"), help="what prepare.py wrote")
    args.add_argument("--from", type=Path, default=Path(".ralu/train/out"), dest="source", help="what came back")
    args.add_argument("--side", type=int, default=256, help="pixels")
    args.add_argument("--seed", type=int, default=0, help="of the prompts")
    a = args.parse_args()
    words = vocabulary.load(json.loads((a.data / "recipe.json").read_text())["vocabulary"])
    model, _, decoder, tokenizer, facts = trained.load(a.data, a.source)
    captions = prompts.examples(words, a.seed)
    path = a.source / f"sheet-{a.side}-{facts['progress']:.2f}.png"
    sheet(model, decoder, tokenizer, captions, a.side).save(path)
    print(path, *captions, sep="\n")


if __name__ == "__main__":
    main()
