"""Text encoders and tokenizers, built in code: nothing is downloaded."""

from __future__ import annotations

from typing import Any

_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'-"


def t5_tokenizer(max_length: int) -> Any:
    """A T5 tokenizer of single characters; ids stay far below any T5 vocabulary."""
    from transformers import T5Tokenizer

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)] + [(each, -3.0) for each in _LETTERS]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=max_length)


def clip_tokenizer() -> Any:
    """A CLIP tokenizer of single characters."""
    from transformers import CLIPTokenizer

    names = ["<|startoftext|>", "<|endoftext|>", *_LETTERS, *(f"{each}</w>" for each in _LETTERS)]
    return CLIPTokenizer(vocab={name: index for index, name in enumerate(names)}, merges=[], model_max_length=77)


def t5_encoder(**config: Any) -> Any:
    """A T5 encoder (gated GELU, the v1.1 layout) of the given sizes."""
    from transformers import T5Config, T5EncoderModel

    encoder = T5EncoderModel(
        T5Config(feed_forward_proj="gated-gelu", is_encoder_decoder=False, use_cache=False, tie_word_embeddings=False, **config)
    )
    # The encoder's embedding is the shared one; building without initialization may leave two.
    encoder.encoder.embed_tokens = encoder.shared
    return encoder.eval()


def t5_xxl() -> Any:
    """The T5-XXL encoder of Flux and CogVideoX."""
    return t5_encoder(vocab_size=32128, d_model=4096, d_kv=64, d_ff=10240, num_layers=24, num_heads=64)


def t5_tiny() -> Any:
    """A T5 encoder for tests: two layers of width 64."""
    return t5_encoder(vocab_size=64, d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4)


def clip_text(**config: Any) -> Any:
    """A CLIP text encoder of the given sizes."""
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(CLIPTextConfig(bos_token_id=0, eos_token_id=1, pad_token_id=1, **config)).eval()


def clip_large() -> Any:
    """CLIP-L's text encoder, as in Flux."""
    return clip_text(vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)


def clip_tiny() -> Any:
    """A CLIP text encoder for tests: two layers of width 32."""
    return clip_text(vocab_size=128, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2)


def encoder_inputs(encoder: Any, tokens: int) -> dict[str, Any]:
    """Keyword arguments of one call of a text encoder, on torch's default device: one prompt, whatever the batch.

    The pipelines encode a prompt once and repeat its embedding for every image. CLIP's prompts are padded to all its positions.
    """
    import torch

    positions = getattr(encoder.config, "max_position_embeddings", None)
    return {"input_ids": torch.zeros(1, positions or tokens, dtype=torch.int64), "output_hidden_states": False}
