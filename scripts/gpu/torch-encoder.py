"""The model of encoder.ts in PyTorch, on the same lengths: packed with varlen attention, eager and compiled with CUDA graphs, and padded with
scaled_dot_product_attention, compiled. Prints JSON lines."""
import json
import math
import torch
import torch.nn.functional as F
from torch import nn

dim, depth, heads, hidden, vocab = 768, 12, 12, 3072, 30522
width = dim // heads
golden = (math.sqrt(5) - 1) / 2


def varlen(q, k, v, ends, longest):
    from torch.nn.attention.varlen import varlen_attn

    return varlen_attn(q, k, v, ends, ends, longest, longest)


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-12), nn.LayerNorm(dim, eps=1e-12)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.up, self.down = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x, batch, longest):
        q, k, v = self.qkv(x).chunk(3, -1)
        if "ends" in batch:
            q, k, v = (t.view(-1, heads, width) for t in (q, k, v))
            y = varlen(q, k, v, batch["ends"], longest).reshape(-1, dim)
        else:
            q, k, v = (t.view(*x.shape[:2], heads, width).transpose(1, 2) for t in (q, k, v))
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=batch["keep"]).transpose(1, 2).reshape(x.shape)
        x = self.norm1(x + self.out(y))
        return self.norm2(x + self.down(F.gelu(self.up(x))))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.positions, self.types = nn.Embedding(vocab, dim), nn.Embedding(512, dim), nn.Embedding(2, dim)
        self.norm = nn.LayerNorm(dim, eps=1e-12)
        self.layers = nn.ModuleList(Layer() for _ in range(depth))
        self.pooler, self.head = nn.Linear(dim, dim), nn.Linear(dim, 2)

    def forward(self, batch, longest):
        x = self.words(batch["ids"]) + self.positions(batch["positions"]) + self.types.weight[0]
        x = self.norm(x)
        for layer in self.layers:
            x = layer(x, batch, longest)
        first = x[batch["starts"]] if "starts" in batch else x[:, 0]
        return self.head(torch.tanh(self.pooler(first)))


def ids_of(b, n):
    i = torch.arange(n)
    return (7 * i * i + 13 * b + 3 * i) % vocab


def milliseconds(call):
    for _ in range(10):
        call()
    torch.cuda.synchronize()
    times = []
    for _ in range(50):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        call()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return sorted(times)[len(times) // 2]


print(json.dumps({"torch": torch.__version__, "device": torch.cuda.get_device_name()}), flush=True)
torch.manual_seed(1)
model = Model().to("cuda", torch.float16).eval()
for count, most in ((32, 128), (256, 128), (64, 512)):
    lengths = [1 + math.floor(most * (((i + 1) * golden + 0.6731) % 1)) for i in range(count)]
    longest = max(lengths)
    ends = torch.tensor([0, *lengths]).cumsum(0)
    packed = {
        "ids": torch.cat([ids_of(b, n) for b, n in enumerate(lengths)]),
        "positions": torch.cat([torch.arange(n) for n in lengths]),
        "ends": ends.int(),
        "starts": ends[:-1],
    }
    padded = {
        "ids": torch.stack([F.pad(ids_of(b, n), (0, longest - n)) for b, n in enumerate(lengths)]),
        "positions": torch.arange(longest).expand(count, -1),
        "keep": (torch.arange(longest) < torch.tensor(lengths)[:, None])[:, None, None, :],
    }
    for layout, batch in (("packed", packed), ("padded", padded)):
        batch = {name: t.cuda() for name, t in batch.items()}
        for mode in ("eager", "compiled"):
            case = f"{count} sequences of at most {most}, {layout}, {mode}"
            try:
                torch._dynamo.reset()
                run = torch.compile(model, mode="reduce-overhead") if mode == "compiled" else model
                with torch.inference_mode():
                    print(json.dumps({"case": case, "tokens": sum(lengths), "ms": round(milliseconds(lambda: run(batch, longest)), 3)}), flush=True)
            except Exception as error:
                print(json.dumps({"case": case, "error": f"{type(error).__name__}: {error}"[:300]}), flush=True)
