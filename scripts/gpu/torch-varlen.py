"""The model of bench/varlen.ts in PyTorch, on the same lengths: padded with scaled_dot_product_attention, and packed with varlen attention,
eager and compiled with CUDA graphs. Prints JSON lines. Arguments: cases as dtype:causal|bidirectional:packed|padded:eager|compiled; default all."""
import inspect
import json
import math
import sys
import torch
import torch.nn.functional as F
from torch import nn

depth, heads, width, hidden, vocab, positions = 24, 16, 64, 4096, 1024, 1024
golden = (math.sqrt(5) - 1) / 2
lengths = [1 + math.floor(1023 * (((i + 1) * golden + 0.6731) % 1)) for i in range(32)]
assert sum(lengths) == 17267
longest, tokens = max(lengths), sum(lengths)
dim = heads * width


def varlen(q, k, v, ends, causal):
    try:
        from torch.nn.attention.varlen import varlen_attn

        names = inspect.signature(varlen_attn).parameters
        if "is_causal" in names:
            return varlen_attn(q, k, v, ends, ends, longest, longest, is_causal=causal)
        return varlen_attn(q, k, v, ends, ends, longest, longest, window_size=(-1, 0) if causal else (-1, -1))
    except ImportError:
        return torch.ops.aten._flash_attention_forward(q, k, v, ends, ends, longest, longest, 0.0, causal, False)[0]


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.up, self.down = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x, batch, causal):
        q, k, v = self.qkv(self.norm1(x)).chunk(3, -1)
        if "ends" in batch:
            q, k, v = (t.view(-1, heads, width) for t in (q, k, v))
            y = varlen(q, k, v, batch["ends"], causal).reshape(-1, dim)
        else:
            q, k, v = (t.view(*x.shape[:2], heads, width).transpose(1, 2) for t in (q, k, v))
            # Padding on the right: under a causal mask no real query sees it.
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=None if causal else batch["keep"], is_causal=causal)
            y = y.transpose(1, 2).reshape(x.shape)
        x = x + self.out(y)
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.position = nn.Embedding(vocab, dim), nn.Embedding(positions, dim)
        self.layers = nn.ModuleList(Layer() for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, vocab, bias=False)

    def forward(self, batch, causal):
        x = self.embed(batch["ids"]) + self.position(batch["positions"])
        for layer in self.layers:
            x = layer(x, batch, causal)
        logits = self.head(self.norm(x)).float().reshape(-1, vocab)
        return (F.cross_entropy(logits, batch["labels"].reshape(-1), reduction="none") * batch["weights"].reshape(-1)).sum()


def padded():
    ids = torch.zeros(len(lengths), longest, dtype=torch.long)
    labels, weights = torch.zeros_like(ids), torch.zeros(len(lengths), longest)
    keep = torch.zeros(len(lengths), 1, 1, longest, dtype=torch.bool)
    for b, n in enumerate(lengths):
        ids[b, :n], labels[b, :n] = packed_ids(b, n, 0), packed_ids(b, n, 1)
        weights[b, :n], keep[b, ..., :n] = 1, True
    return {"ids": ids, "labels": labels, "weights": weights, "keep": keep, "positions": torch.arange(longest).expand(len(lengths), -1)}


def packed_ids(b, n, shift):
    i = torch.arange(n) + shift
    return (7 * i * i + 13 * b + 3 * i) % vocab


def packed():
    return {
        "ids": torch.cat([packed_ids(b, n, 0) for b, n in enumerate(lengths)]),
        "labels": torch.cat([packed_ids(b, n, 1) for b, n in enumerate(lengths)]),
        "positions": torch.cat([torch.arange(n) for n in lengths]),
        "weights": torch.ones(tokens),
        "ends": torch.tensor([0, *lengths]).cumsum(0).int(),
    }


def milliseconds(call):
    for _ in range(5):
        call()
    torch.cuda.synchronize()
    times = []
    for _ in range(25):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        call()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return sorted(times)[len(times) // 2]


every = [
    f"{dtype}:{mask}:{layout}:{mode}"
    for dtype in ("float16", "bfloat16")
    for mask in ("bidirectional", "causal")
    for layout in ("packed", "padded")
    for mode in ("eager", "compiled")
]
print(json.dumps({"torch": torch.__version__, "device": torch.cuda.get_device_name(), "cudnn": torch.backends.cudnn.version()}), flush=True)
for case in sys.argv[1:] or every:
    dtype, mask, layout, mode = case.split(":")
    try:
        torch._dynamo.reset()
        torch.manual_seed(1)
        model = Model().to("cuda", getattr(torch, dtype)).eval()
        batch = {name: t.cuda() for name, t in (packed() if layout == "packed" else padded()).items()}
        run = torch.compile(model, mode="reduce-overhead") if mode == "compiled" else model
        with torch.inference_mode():
            call = lambda: run(batch, mask == "causal")
            ms = milliseconds(call)
            print(json.dumps({"case": case, "ms": round(ms, 3), "loss": round(call().item(), 1)}), flush=True)
        del model, run
    except Exception as error:
        print(json.dumps({"case": case, "error": f"{type(error).__name__}: {error}"[:300]}), flush=True)
