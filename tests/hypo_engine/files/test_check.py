"""Checks of a model's files without torch: missing weights, other kinds of models, tokenizers."""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from hypo_engine.choices import PromptStyle
from hypo_engine.errors import ModelError
from hypo_engine.files.check import check_model_files, configured_context, folder_finder, read_model_config

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


@pytest.fixture
def folder(tiny: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny("llama_untied"), tmp_path / "model"))


def check(folder: Path, **options: Any) -> None:
    check_model_files("it", folder_finder(folder), **{"whole": True, **options})


def change_json(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def change_names(folder: Path, rename: Callable[[str], str | None]) -> None:
    tensors = {rename(name): tensor for name, tensor in load_file(folder / WEIGHTS).items()}
    save_file({name: tensor for name, tensor in tensors.items() if name}, folder / WEIGHTS)


def shard(folder: Path) -> list[str]:
    """Write the weights as two files and an index; return the names of the second file's tensors."""
    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    names = sorted(tensors)
    halves = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, some in halves.items():
        save_file({name: tensors[name] for name in some}, folder / file)
    places = {name: file for file, some in halves.items() for name in some}
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return halves["b.safetensors"]


def test_whole_models_pass(tiny: Callable[[str], Path], folder: Path) -> None:
    for kind in ("llama", "qwen2", "gpt2", "gpt_neox", "gemma2", "mistral", "qwen3", "gemma3_text"):
        check(tiny(kind))
    check(folder)
    shard(folder)
    check(folder)
    assert configured_context(read_model_config("it", folder_finder(folder)))


@pytest.mark.parametrize(
    ("rename", "said"),
    [
        (lambda name: None if name == "lm_head.weight" else name, "1 missing (lm_head.weight)"),
        (lambda name: None if "embed_tokens" in name else name, "1 missing (the embedding)"),
        (lambda name: None if "layers.1." in name else name, "1 missing (model.layers.1)"),
        (
            lambda name: None if "layers.1.mlp.up" in name else name,
            "1 missing (model.layers.1.mlp.up_proj.weight)",
        ),
        (
            lambda name: name.replace("1.mlp.up_proj", "1.adapter"),
            "1 missing (model.layers.1.mlp.up_proj.weight), 1 unknown to it (model.layers.1.adapter.weight)",
        ),
        (lambda name: f"_orig_mod.{name}", "unknown to it (_orig_mod.lm_head.weight"),
        (lambda name: f"module.{name}", "unknown to it (module.lm_head.weight"),
        (lambda name: name.replace("q_proj", "q_proj.base_layer"), "q_proj.base_layer.weight"),
        (
            lambda name: "score.weight" if name == "lm_head.weight" else name,
            "1 missing (lm_head.weight), 1 unknown to it (score.weight)",
        ),
    ],
)
def test_weights_that_are_not_the_models_are_named(
    folder: Path, rename: Callable[[str], str | None], said: str
) -> None:
    change_names(folder, rename)
    with pytest.raises(ModelError) as caught:
        check(folder)
    assert said in str(caught.value)


def test_layers_that_differ_are_no_fault_where_a_family_has_such(folder: Path) -> None:
    change_names(folder, lambda name: name.replace("layers.1.self_attn", "layers.1.mamba"))
    change_json(folder / "config.json", model_type="jamba")
    check(folder)


def test_a_missing_shard_is_named(folder: Path) -> None:
    shard(folder)
    (folder / "b.safetensors").unlink()
    with pytest.raises(ModelError, match=r"lacks b\.safetensors, named in"):
        check(folder)
    check(folder, whole=False)  # the hub's client will download it


def test_a_shard_without_its_tensors_is_named(folder: Path) -> None:
    [first, *_] = shard(folder)
    tensors = load_file(folder / "b.safetensors")
    save_file({name: tensor for name, tensor in tensors.items() if name != first}, folder / "b.safetensors")
    with pytest.raises(ModelError, match="1 missing"):
        check(folder)


@pytest.mark.parametrize("place", ["../b.safetensors", "/etc/passwd", 3])
def test_an_index_names_files_of_its_folder(folder: Path, place: Any) -> None:
    shard(folder)
    (folder / INDEX).write_text(json.dumps({"weight_map": {"lm_head.weight": place}}))
    with pytest.raises(ModelError, match="does not say which file"):
        check(folder)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
        (b"", "is damaged"),
        (b"abc", "is damaged"),
        (struct.pack("<Q", 2**40) + b"{}", "is damaged"),
        (struct.pack("<Q", 2) + b"[]", "is damaged"),
        (struct.pack("<Q", 13) + b'{"a": {"b":1}', "is damaged"),
    ],
)
def test_what_is_no_safetensors_file_is_told(folder: Path, content: bytes, said: str) -> None:
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(ModelError, match=said):
        check(folder)


def test_a_file_that_was_not_copied_to_its_end(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-100])
    with pytest.raises(ModelError, match="it is truncated"):
        check(folder)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"model_type": "bert"}, "is not a causal language model: its prediction"),
        ({"model_type": "modernbert"}, "is not a causal language model: its prediction"),
        ({"model_type": "t5", "is_encoder_decoder": True}, "is not a causal language model;"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantised weights (gptq)"),
        ({"model_type": None}, "names no model_type"),
        ({"vocab_size": 7}, "1 of another size (model.embed_tokens.weight)"),
        ({"num_hidden_layers": 4}, "2 missing (model.layers.2, model.layers.3)"),
    ],
)
def test_what_a_configuration_rules_out(folder: Path, values: dict[str, Any], said: str) -> None:
    change_json(folder / "config.json", **values)
    with pytest.raises(ModelError) as caught:
        check(folder)
    assert said in str(caught.value)


def test_an_encoder_that_is_configured_to_write_is_tried_when_it_is_loaded(folder: Path) -> None:
    change_json(folder / "config.json", model_type="bert", is_decoder=True)
    check(folder)


@pytest.mark.parametrize("special", [True, False])
def test_tokens_beyond_the_embedding(folder: Path, special: bool) -> None:
    file = folder / "tokenizer.json"
    tokens = json.loads(file.read_text())["added_tokens"]
    more = {**tokens[-1], "id": 999, "content": "<more>", "special": special}
    change_json(file, added_tokens=[*tokens, more])
    if special:  # such as an image placeholder: no text maps to it
        check(folder)
        change_json(folder / "tokenizer_config.json", eos_token="<more>")
    with pytest.raises(ModelError, match="some tokens have no vector"):
        check(folder)


def test_a_folder_without_a_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ModelError, match="has no tokenizer"):
        check(folder)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{% for m in messages %}{{ m.role }}{% endfor %}", "leaves out what the user says"),
        ("{% for m in messages %}{{ m.content.nothing }}{% endfor %}", "leaves out what the user says"),
    ],
)
def test_a_template_that_loses_the_users_text(folder: Path, template: str, said: str) -> None:
    (folder / "chat_template.jinja").write_text(template)
    with pytest.raises(ModelError, match=said):
        check(folder)
    check(folder, style=PromptStyle.PLAIN)


def test_a_template_in_the_tokenizers_configuration(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    lost = "{% for m in messages %}{{ m.role }}{% endfor %}"
    for given in (lost, [{"name": "default", "template": lost}]):
        change_json(folder / "tokenizer_config.json", chat_template=given)
        with pytest.raises(ModelError, match="leaves out what the user says"):
            check(folder)
    change_json(folder / "tokenizer_config.json", chat_template=[{"name": "rag", "template": lost}])
    with pytest.raises(ModelError, match="no chat template called default"):
        check(folder)


@pytest.mark.parametrize("dtype", ["I8", "U8", "BOOL", "F8_E4M3"])
def test_matrices_that_are_no_floats_are_quantised(folder: Path, dtype: str) -> None:
    weights = folder / WEIGHTS
    content = weights.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    name = next(tensor for tensor in header if tensor.endswith("q_proj.weight"))
    header[name]["dtype"] = dtype
    written = json.dumps(header).encode()
    weights.write_bytes(struct.pack("<Q", len(written)) + written + content[8 + length :])
    with pytest.raises(ModelError, match=rf"quantised weights \({name} is {dtype}\)"):
        check(folder)


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json", INDEX, WEIGHTS])
def test_files_nested_without_end_are_no_crash(folder: Path, file: str) -> None:
    deep = b"[" * 200_000
    if file == INDEX:
        (folder / WEIGHTS).unlink()
    (folder / file).write_bytes(struct.pack("<Q", len(deep)) + deep if file == WEIGHTS else deep)
    if file == "tokenizer_config.json":
        check(folder)  # loading the tokenizer reports the error
        return
    with pytest.raises(ModelError, match="again"):
        check(folder)


@pytest.mark.parametrize("key", ["shape", "data_offsets"])
def test_sizes_beyond_all_numbers_are_damage(folder: Path, key: str) -> None:
    told = {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]}
    big = ["BIG", 1] if key == "shape" else [0, "BIG"]
    header = json.dumps({"x.weight": {**told, key: big}}).replace('"BIG"', "1e999").encode()
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(header)) + header + b"0000")
    with pytest.raises(ModelError, match="damaged"):
        check(folder)


def test_as_many_labels_as_nobody_has(folder: Path) -> None:
    change_json(folder / "config.json", num_labels=10**12)
    with pytest.raises(ModelError, match="num_labels of 1e\\+12"):
        check(folder)
