"""Tiny random models of the causal architectures in transformers, with a few thousand weights each.

``tiny_architecture("mamba")`` builds one. Size fields are named differently across families, so the usual
names are set where a configuration has them; families that need more are listed.
"""

import inspect
from typing import Any

VOCABULARY = 384

_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "d_model": 32,
    "n_embd": 32,
    "dim": 32,
    "embed_dim": 32,
    "hidden_dim": 32,
    "emb_dim": 32,
    "embedding_size": 32,
    "word_embed_proj_dim": 32,
    "intermediate_size": 48,
    "n_inner": 48,
    "ffn_dim": 48,
    "d_ff": 48,
    "dff": 48,
    "d_inner": 48,
    "ffn_hidden_size": 48,
    "moe_intermediate_size": 24,
    "shared_expert_intermediate_size": 24,
    "shared_intermediate_size": 24,
    "decoder_ffn_dim": 48,
    "encoder_ffn_dim": 48,
    "num_hidden_layers": 2,
    "n_layer": 2,
    "n_layers": 2,
    "num_layers": 2,
    "decoder_layers": 2,
    "encoder_layers": 2,
    "num_attention_heads": 4,
    "n_head": 4,
    "n_heads": 4,
    "num_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "n_positions": 512,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "mamba_n_heads": 4,
    "mamba_d_head": 16,
    "mamba_d_state": 8,
    "mamba_d_conv": 4,
    "mamba_expand": 2,
    "mamba_n_groups": 1,
    "mamba_num_heads": 4,
    "mamba_head_dim": 16,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "index_n_heads": 2,
    "index_head_dim": 16,
    "ssm_state_size": 8,
    "state_size": 8,
    "conv_kernel": 4,
    "pad_token_id": 0,
    "bos_token_id": 0,
    "eos_token_id": 2,
}

_LATENT = ("deepseek_v2", "deepseek_v3", "glm4_moe_lite", "minicpm3", "youtu")
_HYBRID = {"layer_types": ["linear_attention", "full_attention"]}
_MORE: dict[str, dict[str, Any]] = {
    "bamba": {"attn_layer_indices": [1]},
    "falcon_h1": {"mamba_d_ssm": 64},
    "gemma2": {"sliding_window": 16},
    "gemma3_text": {"sliding_window": 6, "layer_types": ["sliding_attention", "full_attention"]},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 6},
    "gpt_oss": {"sliding_window": 6},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "mamba2": {"num_heads": 8, "head_dim": 8},
    "mistral": {"sliding_window": 6},
    **{kind: {"num_key_value_heads": 4} for kind in _LATENT},
    "codegen": {"rotary_dim": 8},
    "gptj": {"rotary_dim": 8},
    "mpt": {"max_seq_len": 64},
    "qwen3_5_text": _HYBRID,
    "qwen3_next": _HYBRID,
    "recurrent_gemma": {"num_hidden_layers": 3, "attention_window_size": 16},
    "zaya": {"num_experts_per_tok": 1},
}


UNTRIED = frozenset(
    {
        "axk1",
        "axk2",
        "blt",
        "cohere_compass_text",
        "cpmant",
        "dbrx",
        "deepseek_v32",
        "deepseek_v4",
        "dots1",
        "dots3_note",
        "dots3_note_text",
        "emu3",
        "fuyu",
        "gemma3",
        "gemma3n",
        "gemma3n_text",
        "gemma4",
        "gemma4_assistant",
        "gemma4_text",
        "gemma4_unified",
        "gemma4_unified_assistant",
        "git",
        "glm_moe_dsa",
        "got_ocr2",
        "hy_v4",
        "inkling2_text",
        "inkling_text",
        "kimi_linear",
        "llama4",
        "longcat_flash",
        "mllama",
        "moss_transcribe_diarize",
        "musicgen",
        "musicgen_melody",
        "nemotron_h",
        "phi4_multimodal",
        "qwen3_5",
        "qwen3_5_moe",
        "qwen3_5_moe_text",
        "qwen4_exp",
        "qwen4_exp_text",
        "reformer",
        "roc_bert",
        "xmod",
        "zamba",
        "zamba2",
    }
)
"""Causal model types that have no tiny configuration here."""


def tiny_config(kind: str, **changes: Any) -> Any:
    """A small configuration of a model type."""
    from transformers import AutoConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    cls = CONFIG_MAPPING[kind]
    known = set(inspect.signature(cls.__init__).parameters) | set(getattr(cls, "__annotations__", {}))
    for parent in cls.__mro__:
        known |= set(getattr(parent, "__annotations__", {}))
    known |= set(getattr(cls, "attribute_map", {}))
    sizes = {name: value for name, value in _SIZES.items() if name in known}
    mapped = getattr(cls, "attribute_map", {})
    sizes = {name: value for name, value in sizes.items() if mapped.get(name, "") not in sizes}
    return AutoConfig.for_model(kind, **{**sizes, **_MORE.get(kind, {}), **changes})


def tiny_architecture(kind: str, *, seed: int = 0, scale: float = 1.0) -> Any:
    """A random float32 model of a type; its weights' spread grows with ``scale``."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(tiny_config(kind), trust_remote_code=False)
        with torch.no_grad():
            for weight in model.parameters():
                if weight.dim() > 1:
                    weight.normal_(0.0, 0.15 * scale)
    return model.eval()
