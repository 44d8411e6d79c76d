"""Write a tiny random causal language model to a folder: safetensors weights, a tokenizer, no network.

Every architecture has two layers, a hidden size of 32 and a vocabulary of a few hundred byte-level BPE
tokens, so a forward pass costs about a millisecond. Weights are random but fixed by a seed.
"""

from pathlib import Path
from typing import Any

ARCHITECTURES = ("llama", "qwen2", "gpt2", "gpt_neox", "gemma2")
"""The architectures of most tests; all five use a growing key-value cache."""

MORE_ARCHITECTURES = ("llama_untied", "mistral", "qwen3", "gemma3_text", "youtu")
"""More architectures of :func:`write_tiny_model`: an untied head, short windows, query norms, and latent
attention, whose values are smaller than its keys.
"""

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

_SENTENCES = [
    "The quick brown fox jumps over the lazy dog.",
    "Preference tuning learns from pairs of answers, one chosen and one rejected.",
    "What is the capital of France? The capital of France is Paris.",
    "Write a short and kind answer. A long answer wanders and repeats itself.",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.",
]


def write_tiny_model(
    folder: Path,
    *,
    architecture: str = "llama",
    chat_template: bool = True,
    add_bos: bool = False,
    seed: int = 0,
    **sizes: int,
) -> Path:
    """Write a model of a listed architecture with its tokenizer to ``folder``; return the folder.

    Args:
        sizes: Fields of its configuration that differ from the usual ones.
    """
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer = _tiny_tokenizer(chat_template=chat_template, add_bos=add_bos)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(_tiny_config(architecture, tokenizer, sizes))
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if weight.dim() > 1:  # larger than usual, so that distributions are not flat
                    weight.normal_(0.0, 0.15)
                elif name.endswith("bias"):
                    weight.normal_(0.0, 0.05)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.bos_token_id = tokenizer.bos_token_id
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _tiny_tokenizer(*, chat_template: bool, add_bos: bool) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=384,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(_SENTENCES, trainer)
    if add_bos:
        raw.post_processor = processors.TemplateProcessing(
            single="<|endoftext|> $A",
            pair="<|endoftext|> $A <|endoftext|> $B",
            special_tokens=[("<|endoftext|>", 0)],
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<|endoftext|>", eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    if chat_template:
        tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _tiny_config(architecture: str, tokenizer: Any, sizes: dict[str, int]) -> Any:
    from transformers import AutoConfig

    common = {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    usual = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": True,
    }
    shapes: dict[str, dict[str, Any]] = {
        "llama": usual | {"num_key_value_heads": 2},
        "qwen2": usual | {"num_key_value_heads": 2},
        "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 2048},
        "gpt_neox": usual | {"tie_word_embeddings": False, "rotary_pct": 0.5},
        "gemma2": usual
        | {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 16, "query_pre_attn_scalar": 8},
        "llama_untied": usual | {"num_key_value_heads": 1, "tie_word_embeddings": False},
        "mistral": usual | {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 6},
        "qwen3": usual | {"num_key_value_heads": 2, "head_dim": 8},
        "gemma3_text": usual
        | {
            "num_key_value_heads": 2,
            "head_dim": 8,
            "query_pre_attn_scalar": 8,
            "sliding_window": 6,
            "layer_types": ["sliding_attention", "full_attention"],
        },
    }
    shapes["youtu"] = usual | {
        "num_key_value_heads": 4,
        "q_lora_rank": 16,
        "kv_lora_rank": 16,
        "qk_nope_head_dim": 8,
        "qk_rope_head_dim": 4,
        "v_head_dim": 6,
    }
    # gpt_neox and gpt2 have dropout by default or here: the engine must disable it
    if architecture == "gpt_neox":
        shapes[architecture] |= {"attention_dropout": 0.1, "hidden_dropout": 0.1}
    kind = architecture.removesuffix("_untied")
    return AutoConfig.for_model(kind, **common, **(shapes[architecture] | sizes))
