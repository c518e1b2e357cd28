"""What is refused, in one sentence each, and what a server says of its model."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ralu_stage.contract.facts import check_facts
from ralu_stage.load import LoadSettings, load_model
from ralu_stage.source import LoadError, digest, open_source

NAMES = ["flux-dev", "flux-schnell", "sd3", "sd3.5", "klein", "klein-base"]
CPU = LoadSettings(device="cpu")


@pytest.fixture
def copy(tiny_folder, tmp_path):
    """A copy of a tiny model that a test may break."""
    return lambda name, to="copy": Path(shutil.copytree(tiny_folder(name), tmp_path / to))


def rewrite(path: Path, **fields):
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, **fields}))


def refusal(folder: Path, settings: LoadSettings = CPU) -> str:
    with pytest.raises(LoadError) as refused:
        load_model(str(folder), settings)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_folder_without_an_index_is_refused(tmp_path):
    assert refusal(tmp_path) == f"{tmp_path} has no model_index.json; expected a pipeline in diffusers' format"


def test_what_is_no_folder_and_no_hub_id_is_refused(tmp_path):
    assert "is no folder, and no hub id of the form owner/name" in refusal(tmp_path / "nothing" / "there")


def test_a_hub_id_that_the_hub_does_not_give_is_refused(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "nobody/nothing is no folder here, and the hub did not give it" in refusal("nobody/nothing")


def test_an_unknown_pipeline_is_refused_with_those_that_are_known(copy):
    folder = copy("flux-dev")
    rewrite(folder / "model_index.json", _class_name="KandinskyPipeline")
    known = "FluxPipeline, StableDiffusion3Pipeline, Flux2KleinPipeline"
    assert refusal(folder) == f"the pipeline's class is KandinskyPipeline; known are {known}"


def test_a_missing_shard_is_named(copy):
    folder = copy("flux-dev")
    weights = folder / "transformer/diffusion_pytorch_model.safetensors"
    index = {"weight_map": dict.fromkeys(load_file(weights), "diffusion_pytorch_model-00002-of-00002.safetensors")}
    weights.unlink()
    (folder / "transformer/diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    assert refusal(folder) == (
        "transformer/diffusion_pytorch_model-00002-of-00002.safetensors is missing;"
        " transformer/diffusion_pytorch_model.safetensors.index.json names it"
    )


def test_shards_that_are_all_there_are_read(copy, tiny_folder):
    folder = copy("flux-dev")
    weights = folder / "transformer/diffusion_pytorch_model.safetensors"
    values = load_file(weights)
    names = {key: f"diffusion_pytorch_model-0000{i % 2 + 1}-of-00002.safetensors" for i, key in enumerate(values)}
    for name in set(names.values()):
        save_file({key: values[key] for key in values if names[key] == name}, weights.parent / name)
    weights.unlink()
    (weights.parent / f"{weights.name}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))
    assert load_model(str(folder), CPU).facts["id"] == "tiny-flux-dev"


def test_a_component_without_weights_is_refused(copy):
    folder = copy("sd3")
    (folder / "text_encoder_2/model.safetensors").unlink()
    assert refusal(folder).startswith("text_encoder_2 has no weights")


def test_a_missing_component_is_refused(copy):
    folder = copy("flux-dev")
    rewrite(folder / "model_index.json", text_encoder_2=[None, None])
    assert refusal(folder) == "model_index.json names no text_encoder_2, which FluxPipeline needs"


def test_a_component_of_another_class_is_refused(copy):
    folder = copy("flux-dev")
    rewrite(folder / "model_index.json", transformer=["diffusers", "SD3Transformer2DModel"])
    assert refusal(folder) == (
        "the component transformer is of class SD3Transformer2DModel; FluxPipeline expects FluxTransformer2DModel"
    )
    rewrite(folder / "model_index.json", transformer=["diffusers", "FluxTransformer2DModel"])
    rewrite(folder / "transformer/config.json", _class_name="SD3Transformer2DModel")
    assert refusal(folder) == (
        "transformer/config.json is of class SD3Transformer2DModel; model_index.json says FluxTransformer2DModel"
    )


@pytest.mark.parametrize("component", ["transformer", "vae", "text_encoder_2"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(copy, component, value):
    folder = copy("flux-dev")
    (weights,) = (folder / component).glob("*.safetensors")
    values = load_file(weights)
    key = next(key for key in values if values[key].ndim == 2 or component == "vae")
    values[key].view(-1)[-1] = value
    save_file(values, weights, metadata={"format": "pt"})
    assert refusal(folder).startswith(f"{component}: ") and refusal(folder).endswith("holds NaN or infinity")


@pytest.mark.parametrize(("component", "file"), [("transformer", "diffusion_pytorch_model"), ("text_encoder", "model")])
def test_weights_that_do_not_fit_their_configuration_are_refused(copy, component, file):
    folder = copy("flux-dev")
    weights = folder / component / f"{file}.safetensors"
    values = load_file(weights)
    removed = sorted(values)[3]
    save_file({key: values[key] for key in values if key != removed}, weights, metadata={"format": "pt"})
    assert component in refusal(folder) and removed.rsplit(".", 2)[1] in refusal(folder)


def test_a_component_that_the_libraries_do_not_have_is_refused(copy):
    folder = copy("flux-dev")
    rewrite(folder / "model_index.json", text_encoder=["my_code", "MyEncoder"])
    assert refusal(folder) == "the component text_encoder is my_code.MyEncoder, which is not known here"


def test_a_configuration_that_makes_no_component_is_refused(copy):
    folder = copy("flux-dev")
    rewrite(folder / "transformer/config.json", num_attention_heads="two")
    assert refusal(folder) == "transformer/config.json makes no FluxTransformer2DModel: TypeError"


def test_weights_that_are_no_safetensors_are_refused(copy):
    folder = copy("flux-dev")
    (folder / "vae/diffusion_pytorch_model.safetensors").write_bytes(b"no weights at all")
    assert refusal(folder).startswith("vae does not load: ")


def test_json_that_is_none_is_refused(copy):
    folder = copy("flux-dev")
    (folder / "transformer/config.json").write_text("{")
    assert refusal(folder) == "transformer/config.json is no JSON"


@pytest.mark.parametrize("field", ["use_karras_sigmas", "shift_terminal"])
def test_a_schedule_that_no_shift_describes_is_refused(copy, field):
    folder = copy("sd3")
    rewrite(folder / "scheduler/scheduler_config.json", **{field: 0.5})
    assert refusal(folder) == (
        f"scheduler/scheduler_config.json: {field} is 0.5; expected a schedule that a shift describes"
    )


def test_sd3_whose_table_is_no_sine_is_refused(copy):
    folder = copy("sd3")
    weights = folder / "transformer/diffusion_pytorch_model.safetensors"
    values = load_file(weights)
    values["pos_embed.pos_embed"] = values["pos_embed.pos_embed"].roll(1, 1)
    save_file(values, weights, metadata={"format": "pt"})
    assert "transformer: the table of positions differs from a sine by" in refusal(folder)


@pytest.mark.parametrize(
    ("name", "fields", "said"),
    [
        ("flux-dev", {"sizzes": []}, "ralu.json: sizzes: Extra inputs are not permitted"),
        ("flux-dev", {"steps": 0}, "ralu.json: steps: Input should be greater than 0"),
        ("flux-dev", {"sizes": [{"width": 64}]}, "ralu.json: sizes.0.height: Field required"),
        ("flux-dev", {"guidance": {"min": 1}}, "ralu.json: guidance.max: Field required"),
        (
            "flux-schnell",
            {"guidance": {"min": 1, "max": 2, "default": 1}},
            "the operator states guidance, which the model does not take",
        ),
        (
            "sd3",
            {"sizes": [{"width": 400, "height": 64}]},
            "sizes allow a side of 400 pixels; the model has positions for 384",
        ),
        (
            "sd3",
            {"size_rule": {"multiple": 32, "min_pixels": 4096, "max_pixels": 45056, "max_aspect": 4}},
            "sizes allow a side of 416 pixels; the model has positions for 384",
        ),
    ],
)
def test_what_the_operator_may_not_say_is_refused(copy, name, fields, said):
    folder = copy(name)
    rewrite(folder / "ralu.json", **fields)
    if name == "sd3":
        rewrite(folder / "ralu.json", size_rule=fields.get("size_rule"))
    assert refusal(folder) == said


def test_a_file_of_the_operator_that_is_not_there_is_refused(tiny_folder, tmp_path):
    said = refusal(tiny_folder("flux-dev"), LoadSettings(device="cpu", facts=tmp_path / "gone.json"))
    assert said.endswith("gone.json is no JSON")


def test_an_operators_guidance_keeps_the_models_kind(copy):
    folder = copy("sd3")
    rewrite(folder / "ralu.json", guidance={"min": 1, "max": 9, "default": 5})
    assert load_model(str(folder), CPU).facts["guidance"] == {"min": 1, "max": 9, "default": 5, "kind": "cfg"}


def test_sizes_fit_sd3s_positions_where_the_operator_states_none(copy):
    folder = copy("sd3")
    (folder / "ralu.json").unlink()
    model = load_model(str(folder), CPU)
    facts = check_facts(model.facts, model.engine_class, model.deterministic)
    assert [(size.width, size.height) for size in facts.sizes] == [(384, 384)]
    assert facts.size_rule.max_pixels == 384**2 and facts.size_rule.max_aspect == 1


def test_the_operators_file_may_lie_elsewhere_and_overrides(copy, tmp_path):
    folder = copy("flux-dev")
    elsewhere = tmp_path / "mine.json"
    sizes = [{"width": 64, "height": 64}]
    elsewhere.write_text(json.dumps({"id": "mine", "aliases": ["ours"], "steps": 20, "sizes": sizes}))
    facts = load_model(str(folder), LoadSettings(device="cpu", facts=elsewhere)).facts
    assert (facts["id"], facts["aliases"], facts["steps"], facts["sizes"]) == ("mine", ["ours"], 20, sizes)
    assert facts["size_rule"] is None and facts["max_tokens"] == 16


@pytest.mark.parametrize("name", NAMES)
def test_the_facts_keep_the_contracts_rules(tiny_model, name):
    model = tiny_model(name)
    facts = check_facts(model.facts, model.engine_class, model.deterministic)
    assert facts.id == f"tiny-{name}" and facts.token_pixels == 16 and facts.max_tokens == 192 * 128 // 256
    assert facts.channels == (32 if name.startswith("klein") else 16)


@pytest.mark.parametrize(
    ("name", "family", "steps", "guidance", "negative"),
    [
        ("flux-dev", "flux.1", 50, "embedded", False),
        ("flux-schnell", "flux.1", 4, None, False),
        ("sd3", "sd3", 28, "cfg", True),
        ("klein", "flux.2", 4, None, False),
        ("klein-base", "flux.2", 50, "cfg", True),
    ],
)
def test_a_family_says_how_it_is_run(tiny_model, name, family, steps, guidance, negative):
    facts = tiny_model(name).facts
    assert (facts["family"], facts["steps"], facts["negative_prompt"]) == (family, steps, negative)
    assert (facts["guidance"] and facts["guidance"]["kind"]) == guidance
    assert ("presets" in facts) == (family == "flux.2")
    assert facts["caches"] == ["taylor_blocks", "taylor_velocity"]


def test_without_the_operators_file_sizes_are_those_of_a_megapixel_and_a_rule(copy):
    folder = copy("flux-dev", to="FLUX.1-dev")
    (folder / "ralu.json").unlink()
    model = load_model(str(folder), CPU)
    facts = check_facts(model.facts, model.engine_class, model.deterministic)
    assert facts.id == "flux.1-dev" and (facts.sizes[0].width, facts.sizes[0].height) == (1024, 1024)
    assert facts.size_rule.allows(1536, 1536) and not facts.size_rule.allows(1552, 1024)
    assert facts.max_tokens == 9216 and facts.licence == "FLUX non-commercial license"


def test_the_licence_and_whether_pictures_may_be_sold_are_said_at_the_start(copy, caplog, monkeypatch):
    folder = copy("flux-schnell", to="FLUX.1-schnell")
    (folder / "ralu.json").unlink()
    logger = logging.getLogger("ralu_stage.load")
    monkeypatch.setattr(logger, "handlers", [caplog.handler])
    monkeypatch.setattr(logger, "level", logging.INFO)
    load_model(str(folder), CPU)
    assert "FLUX.1-schnell: the weights are under Apache-2.0: pictures may be sold" in caplog.text
    assert "on paper the card needs" in caplog.text


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("license: apache-2.0", "Apache-2.0"),
        ("license: other\nlicense_name: stabilityai-ai-community", "Stability AI Community License"),
        ("license: openrail++", "openrail++"),
        ("tags: []", "not stated"),
    ],
)
def test_a_model_card_says_the_licence_of_what_is_not_known_by_name(copy, card, licence):
    folder = copy("flux-dev")
    (folder / "ralu.json").unlink()
    (folder / "README.md").write_text(f"---\n{card}\n---\nA model.")
    assert open_source(str(folder)).licence.name == licence


def test_the_digest_is_the_files_wherever_they_lie(copy, tiny_folder):
    want = digest(open_source(str(tiny_folder("flux-dev"))))
    folder = copy("flux-dev")
    assert digest(open_source(str(folder))) == want
    (folder / "notes.txt").write_text("no part of the model")
    assert digest(open_source(str(folder))) == want


@pytest.mark.parametrize(
    "path", ["tokenizer_2/tokenizer.json", "transformer/config.json", "scheduler/scheduler_config.json"]
)
def test_the_digest_changes_with_every_file_that_decides_the_output(copy, tiny_folder, path):
    folder = copy("flux-dev")
    with (folder / path).open("a") as file:
        file.write("\n")
    assert digest(open_source(str(folder))) != digest(open_source(str(tiny_folder("flux-dev"))))


def test_the_digest_changes_with_a_weight(copy, tiny_folder):
    folder = copy("flux-dev")
    weights = folder / "transformer/diffusion_pytorch_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert digest(open_source(str(folder))) != digest(open_source(str(tiny_folder("flux-dev"))))


def test_the_engine_class_says_what_changes_the_numbers(tiny_model):
    engine = tiny_model("flux-dev").engine_class
    assert engine.startswith(f"torch/{torch.__version__.split('+')[0]} cpu linux-")
    assert f"float32 threads={torch.get_num_threads()} diffusers/" in engine
    assert engine.isascii() and "," not in engine and len(engine) <= 200


def test_a_model_in_bfloat16_is_near_and_of_another_class(tiny_folder, tiny_model):
    from jobs import denoise, difference, full_grid, make_job

    half = load_model(str(tiny_folder("flux-dev")), LoadSettings(device="cpu", dtype="bf16"))
    assert half.adapter.transformer.dtype == torch.bfloat16 and " bfloat16 " in half.engine_class
    # a thousand times these is exact in bfloat16 too: the model reads time and guidance in its own type
    job = make_job(half, places=full_grid(4, 4), sigmas=[1, 0.5, 0.25], guidance=4.0, width=64, height=64)
    got, want = denoise(half, job), denoise(tiny_model("flux-dev"), job)
    assert got.latents.dtype == torch.float32
    assert 0 < difference(got.latents, want.latents) < 0.1
    assert half.decode(got.latents, 4, 4).shape == (64, 64, 3)
