"""Names of emoji in the words a model has learned: `emoji.json` of a model's folder, which its stage server reads.

A sequence stands without skin tones. It stands without the emoji presentation U+FE0F too, but for symbols that are
text unless it follows: a bullet or an arrow of a sentence is not read as its name.

    python lab/train/emoji_names.py    # writes the file of the embedded model and lists it in its manifest
"""

import argparse
import hashlib
import json
import re
from pathlib import Path

import vocabulary as vocabularies
from vocabulary import Vocabulary

HERE = Path(__file__).parent
FILE = "emoji.json"

# groups of emojibase: parts of sequences; animals; symbols
COMPONENTS, ANIMALS, SYMBOLS = (None, 2), 3, 8
EMOJI_STYLE = "\ufe0f"
# everyday names of things that emojibase calls otherwise
EVERYDAY = {
    "sport utility vehicle": "car",
    "oncoming automobile": "automobile",
    "minibus": "bus",
    "trolleybus": "bus",
    "light blue heart": "blue heart",
}


def read_emojibase() -> list[dict]:
    return json.loads((HERE.parent / "node_modules/emojibase-data/en/data.json").read_text())


def emoji_of(hexcode: str) -> str:
    return "".join(chr(int(point, 16)) for point in hexcode.split("-"))


def plain(label: str) -> str:
    """A label as words of a sentence: `flag: Chile` → `flag of Chile`, `keycap: 3` → `3`, no quotation marks."""
    label = label.replace("’", "'").replace("“", "").replace("”", "")
    if label.startswith("flag: "):
        return f"flag of {label.removeprefix('flag: ')}"
    return label.removeprefix("keycap: ").replace(": ", " ")


def is_known(name: str, words: set[str]) -> bool:
    """Whether every word of a name, and every mark between words, is a word of its own."""
    return all(part in words for part in re.findall(r"[a-z0-9]+|[^\sa-z0-9]", name.lower()))


def name_of(entry: dict, words: set[str], vocabulary: Vocabulary) -> str:
    """The name a model was trained with, else the first of its other names that is known, else its label."""
    trained = {code.removesuffix("-fe0f").upper(): name for name, code in vocabulary.objects.items()}
    own = trained.get(entry["hexcode"].removesuffix("-FE0F"))
    label = plain(entry["label"])
    if entry["group"] == ANIMALS:
        label = label.removesuffix(" face")
    names = [label, label.replace("grey", "gray"), EVERYDAY.get(label, label)]
    return next((name for name in [own, *names] if name and is_known(name, words)), label)


def emoji_names(entries: list[dict], words: set[str], vocabulary: Vocabulary) -> dict[str, str]:
    """Names by sequence. `words` are the tokens of the vocabulary that begin a word."""
    names = {}
    for entry in entries:
        if entry.get("group") in COMPONENTS:
            continue
        sequence = emoji_of(entry["hexcode"]).replace(EMOJI_STYLE, "")
        is_text = entry["group"] == SYMBOLS and entry["type"] == 0
        names[sequence + EMOJI_STYLE if is_text else sequence] = name_of(entry, words, vocabulary)
    return names


def words_of(tokenizer: dict) -> set[str]:
    """Tokens of a `tokenizer.json` that begin a word."""
    return {token for token in tokenizer["model"]["vocab"] if not token.startswith("##")}


def write_names(folder: Path, vocabulary: Vocabulary) -> bytes:
    """Writes the names beside the tokenizer in `folder`, a line each, and returns the file's bytes."""
    words = words_of(json.loads((folder / "tokenizer.json").read_text()))
    names = emoji_names(read_emojibase(), words, vocabulary)
    content = (json.dumps(names, indent=0, ensure_ascii=False) + "\n").encode()
    (folder / FILE).write_bytes(content)
    return content


def listed(content: bytes) -> dict:
    """What a manifest says of a file."""
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--model", default="models/fluent-scenes", help="a folder with tokenizer.json and manifest.json")
    args.add_argument("--vocabulary", default="fluent-64", help="the one of lab/train/vocabularies it was trained on")
    a = args.parse_args()
    folder = Path(a.model)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][FILE] = listed(write_names(folder, vocabularies.load(a.vocabulary)))
    manifest["tokenizer"]["emoji"] = FILE
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
