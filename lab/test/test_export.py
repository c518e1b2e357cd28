"""What a model's folder holds. Needs PyTorch and ONNX Runtime."""

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("diffusers")

import autoencoder  # noqa: E402
import export  # noqa: E402


@torch.no_grad()
def test_the_encoder_is_written_as_pytorch_computes_it(tmp_path: Path):
    torch.manual_seed(1)
    torch.set_num_threads(1)
    encoder = autoencoder.Encoder().eval()
    path = tmp_path / "encoder.onnx"
    entry = export.write_encoder(encoder, str(path))
    assert entry == {"file": "encoder.onnx", "inputs": ["sample"], "outputs": ["latent_sample"]}
    assert path.stat().st_size < 20_000
    # a size of which the export has seen nothing
    sample = torch.rand(1, 3, 40, 72) * 2 - 1
    found = onnxruntime.InferenceSession(str(path)).run(None, {"sample": sample.numpy()})[0]
    assert found.shape == (1, 16, 5, 9)
    np.testing.assert_allclose(found, encoder(sample).numpy(), atol=1e-5)


def test_words_that_no_caption_has_are_unlearned_and_pieces_inside_words_are_none():
    vocabulary = ["[START]", "[UNK]", ",", "a", "b", "##b", "7", "sa", "sail", "fox", "##ox"]
    tokenizer = {"model": {"vocab": {token: i for i, token in enumerate(vocabulary)}}}
    assert export.unlearned(tokenizer, ["a", "fox"]) == ["7", "b", "sa", "sail"]


def test_the_model_has_not_learned_the_words_that_its_manifest_says():
    folder = Path(__file__).parents[2] / "models/fluent-scenes"
    manifest = json.loads((folder / "manifest.json").read_text())
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    facts = manifest["facts"]
    said = [*facts["examples"], *(word for words in facts["vocabulary"].values() for word in words)]
    learned = [word for text in said for word in text.split()]
    found = export.unlearned(tokenizer, learned)
    assert set(manifest["tokenizer"]["unlearned"]) < set(found)
