"""Makes tiny reward models in the layouts of Hugging Face, random, and writes what transformers' own forward pass
says of conversations: orchestrator/reward/head/testdata/transformers, which a test holds ivo's scores against.

    pip install torch transformers
    python3 scripts/agree/rewardmodel.py
"""

import json
import pathlib

import torch
import transformers
from transformers import LlamaConfig, LlamaForSequenceClassification, Qwen3Config, Qwen3ForSequenceClassification

OUT = pathlib.Path(__file__).parents[2] / "orchestrator/reward/head/testdata/transformers"
SEED = 20250302
# Tokens are <unk>, <s>, </s> and the bytes; a space is written as U+2581, as SentencePiece does.
VOCABULARY = 3 + 256
TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
CONVERSATIONS = [
    ["How are you?", "I am well."],
    ["How are you?", "I am not so well today, and you?"],
    ["What is a sea?", "Much water."],
    ["What is a sea?", "A sea is a large body of salt water, smaller than an ocean, and often partly enclosed by land. " * 3],
    ["Say nothing.", ""],
    ["Grüße!", "Grüße zurück, 你好 🙂"],
]
SHAPE = dict(
    vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    max_position_embeddings=512, initializer_range=0.25, rms_norm_eps=1e-5, num_labels=1, pad_token_id=0, bos_token_id=1, eos_token_id=2,
)
MODELS = {
    "llama": (LlamaForSequenceClassification, LlamaConfig(**SHAPE), torch.bfloat16),
    "qwen3": (Qwen3ForSequenceClassification, Qwen3Config(**SHAPE, head_dim=16), torch.float16),
}


def ids(question, answer):
    text = f"user: {question}\nassistant: {answer}\n"
    return [1] + [3 + b for b in text.replace(" ", "\u2581").encode()]


for name, (make, config, kind) in MODELS.items():
    torch.manual_seed(SEED)
    folder = OUT / name
    model = make(config)
    with torch.no_grad():
        for tensor, weight in model.named_parameters():
            if "norm" in tensor:  # which begin as ones, and would not show
                weight.add_(torch.randn_like(weight) * 0.2)
    model.to(kind).save_pretrained(folder)
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": TEMPLATE}))
    model = make.from_pretrained(folder, dtype=torch.float32).eval()
    scores = []
    with torch.no_grad():
        for question, answer in CONVERSATIONS:
            scores.append(model(torch.tensor([ids(question, answer)])).logits[0, 0].item())
    (folder / "scores.json").write_text(json.dumps({
        "seed": SEED, "transformers": transformers.__version__, "torch": torch.__version__,
        "scores": [{"prompt": q, "response": a, "score": s} for (q, a), s in zip(CONVERSATIONS, scores)],
    }, indent=1, ensure_ascii=False) + "\n")
    print(name, [round(s, 4) for s in scores])
