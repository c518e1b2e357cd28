"""Captions as tokens, and the small text encoder that is trained along with the transformer.

The vocabulary is WordPiece over the captions: their words whole, and pieces down to single letters for all others. A
few words of every training batch are read in pieces, so pieces mean something. Every text begins with [START], so there
is always one token, and no padding is ever seen.
"""

import random
import re

import torch
import torch.nn as nn
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

START, UNKNOWN = "[START]", "[UNK]"
WIDTH, MAX_TOKENS = 256, 64
USUAL_TOKENS = 10  # the median of the training captions
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
MARKS = ",.!?'-&:;()\""


def build_tokenizer(words: list[str]) -> Tokenizer:
    """The words, `prompts.caption_words` of a vocabulary, stay whole. Pieces are what they are made of: the commonest
    400 beginnings and ends of two to four letters.
    """
    counts: dict[str, int] = {}
    for word in words:
        for length in (2, 3, 4):
            for at in range(len(word) - length + 1):
                piece = ("##" if at else "") + word[at : at + length]
                counts[piece] = counts.get(piece, 0) + 1
    common = sorted(counts, key=lambda piece: (-counts[piece], piece))[:400]
    vocabulary = dict.fromkeys(
        [START, UNKNOWN, *MARKS, *LETTERS, *("##" + letter for letter in LETTERS), *common, *words]
    )
    tokenizer = Tokenizer(models.WordPiece({token: i for i, token in enumerate(vocabulary)}, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{START} $A", special_tokens=[(START, 0)])
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def in_pieces(word: str, tokenizer: Tokenizer, rng: random.Random) -> list[int]:
    """The ids of a word cut at random into pieces the vocabulary has."""
    ids, at = [], 0
    while at < len(word):
        length = rng.choice((1, 2, 3, 4))
        while (found := tokenizer.token_to_id(("##" if at else "") + word[at : at + length])) is None or length == len(
            word
        ) > 1:
            length -= 1
        ids.append(found)
        at += length
    return ids


def encode(caption: str, tokenizer: Tokenizer, rng: random.Random | None = None, cut: float = 0.02) -> list[int]:
    """Ids with [START]; with a generator, each word is read in pieces with chance `cut`."""
    if rng is None:
        return tokenizer.encode(caption).ids
    ids = [tokenizer.token_to_id(START)]
    for word in re.findall(r"[a-z0-9]+|[^\sa-z0-9]", caption):
        found = tokenizer.token_to_id(word)
        ids += in_pieces(word, tokenizer, rng) if found is None or (len(word) > 1 and rng.random() < cut) else [found]
    return ids


class TextEncoder(nn.Module):
    """input_ids [b, t] → (encoder_hidden_states [b, t, 256], pooled_projections [b, 256], from the tokens' mean)."""

    def __init__(self, vocabulary: int, layers: int = 2):
        super().__init__()
        self.embed, self.position = nn.Embedding(vocabulary, WIDTH), nn.Parameter(torch.randn(MAX_TOKENS, WIDTH) * 0.02)
        nn.init.normal_(self.embed.weight, std=0.5)
        self.layers = nn.ModuleList(
            [
                nn.ModuleDict(
                    {
                        "norm1": nn.LayerNorm(WIDTH),
                        "qkv": nn.Linear(WIDTH, 3 * WIDTH),
                        "out": nn.Linear(WIDTH, WIDTH),
                        "norm2": nn.LayerNorm(WIDTH),
                        "up": nn.Linear(WIDTH, 4 * WIDTH),
                        "down": nn.Linear(4 * WIDTH, WIDTH),
                    }
                )
                for _ in range(layers)
            ]
        )
        self.norm, self.pool = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, input_ids):
        x = self.embed(input_ids) + self.position[: input_ids.shape[1]]
        b, t, d = x.shape
        for layer in self.layers:
            q, k, v = layer["qkv"](layer["norm1"](x)).reshape(b, t, 3, 4, d // 4).permute(2, 0, 3, 1, 4).unbind(0)
            x = x + layer["out"](nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, d))
            x = x + layer["down"](nn.functional.gelu(layer["up"](layer["norm2"](x)), approximate="tanh"))
        return self.norm(x), self.pool(x.mean(1))
