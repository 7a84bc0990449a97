"""PyTorch's side of encoder-benchmark.ts: exports the checkpoint in a folder to ONNX and optimises the graph for ONNX Runtime, then times the model for each line on standard input.
The model is written out here in the form whose attention the optimiser recognises; that of transformers 5 it leaves in pieces."""
import json
import math
import struct
import sys
import time

import onnxruntime
import torch
import torch.nn.functional as F
from onnxruntime.transformers import optimizer
from safetensors.torch import load_file
from torch import nn

folder = sys.argv[1]
with open(f"{folder}/batch.json") as file:
    batch = json.load(file)
with open(f"{folder}/config.json") as file:
    config = json.load(file)
torch.set_num_threads(batch["threads"])
torch.set_grad_enabled(False)
dim, heads, depth = config["hidden_size"], config["num_attention_heads"], config["num_hidden_layers"]
weights = load_file(f"{folder}/model.safetensors")


def linear(name):
    made = nn.Linear(*reversed(weights[f"{name}.weight"].shape))
    made.load_state_dict({part: weights[f"{name}.{part}"] for part in ("weight", "bias")})
    return made


def norm(name):
    made = nn.LayerNorm(dim, eps=config["layer_norm_eps"])
    made.load_state_dict({part: weights[f"{name}.LayerNorm.{part}"] for part in ("weight", "bias")})
    return made


def table(name):
    return nn.Embedding.from_pretrained(weights[f"embeddings.{name}_embeddings.weight"])


class Layer(nn.Module):
    def __init__(self, name):
        super().__init__()
        self.q, self.k, self.v = (linear(f"{name}.attention.self.{part}") for part in ("query", "key", "value"))
        self.out, self.norm1 = linear(f"{name}.attention.output.dense"), norm(f"{name}.attention.output")
        self.up, self.down, self.norm2 = linear(f"{name}.intermediate.dense"), linear(f"{name}.output.dense"), norm(f"{name}.output")

    def forward(self, x, mask, fused):
        q, k, v = (p(x).view(x.shape[0], x.shape[1], heads, dim // heads).permute(0, 2, 1, 3) for p in (self.q, self.k, self.v))
        if fused:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        else:
            y = (q @ k.transpose(-1, -2) / math.sqrt(dim // heads) + mask).softmax(-1) @ v
        x = self.norm1(self.out(y.permute(0, 2, 1, 3).reshape(x.shape[0], x.shape[1], dim)) + x)
        return self.norm2(self.down(F.gelu(self.up(x))) + x)


class Bert(nn.Module):
    def __init__(self, fused):
        super().__init__()
        self.fused = fused
        self.words, self.positions, self.types = (table(name) for name in ("word", "position", "token_type"))
        self.norm = norm("embeddings")
        self.layers = nn.ModuleList(Layer(f"encoder.layer.{i}") for i in range(depth))

    def forward(self, input_ids, attention_mask, token_type_ids):
        positions = torch.arange(input_ids.shape[1]).unsqueeze(0)
        x = self.norm(self.words(input_ids) + self.types(token_type_ids) + self.positions(positions))
        mask = attention_mask.unsqueeze(1).unsqueeze(2)
        mask = mask.bool() if self.fused else (1.0 - mask.to(torch.float32)) * -10000.0
        for layer in self.layers:
            x = layer(x, mask, self.fused)
        return x


ids, width = batch["ids"], batch["width"]
feeds = {
    "input_ids": torch.tensor([row + [0] * (width - len(row)) for row in ids]),
    "attention_mask": torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ids]),
    "token_type_ids": torch.zeros(len(ids), width, dtype=torch.int64),
}
names = {name: {0: "batch", 1: "seq"} for name in [*feeds, "last_hidden_state"]}
torch.onnx.export(
    Bert(fused=False).eval(),
    tuple(feeds.values()),
    f"{folder}/exported.onnx",
    input_names=list(feeds),
    output_names=["last_hidden_state"],
    dynamic_axes=names,
    opset_version=17,
    dynamo=False,
)
fused = optimizer.optimize_model(f"{folder}/exported.onnx", model_type="bert", num_heads=heads, hidden_size=dim)
fused.save_model_to_file(f"{folder}/optimised.onnx")
counts = {op: n for op, n in fused.get_fused_operator_statistics().items() if n}

model = Bert(fused=True).eval()
flat = model(**feeds).flatten().tolist()
with open(f"{folder}/expected.bin", "wb") as file:
    file.write(struct.pack(f"<{len(flat)}f", *flat))

print(json.dumps({"torch": torch.__version__, "onnxruntime": onnxruntime.__version__, "fused": counts}), flush=True)
for _ in sys.stdin:
    wall, cpu = time.perf_counter(), time.process_time()
    model(**feeds)
    print(json.dumps({"wall": 1e3 * (time.perf_counter() - wall), "cpu": 1e3 * (time.process_time() - cpu)}), flush=True)
