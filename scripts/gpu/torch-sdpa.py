"""Reference for the attention bench: torch's scaled_dot_product_attention, every backend, the same sizes. Prints JSON lines.
With --kv-heads below --heads, key heads are shared: each backend takes them itself, or, where it cannot, as repeated heads (repeated in the timed call)."""
import argparse
import json
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
import torch.nn.functional as F

parser = argparse.ArgumentParser()
parser.add_argument("--heads", type=int, default=16)
parser.add_argument("--kv-heads", type=int)
parser.add_argument("--dtypes", default="float16")
parser.add_argument("--masks", default="none,causal")
parser.add_argument("--copies", type=int, default=16)
parser.add_argument("seqs", nargs="*", type=int, default=[512, 2048, 8192, 16384])
args = parser.parse_args()
backends = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION, "efficient": SDPBackend.EFFICIENT_ATTENTION}
heads, width, tokens, copies = args.heads, 128, 16384, args.copies
kv_heads = args.kv_heads or heads


def milliseconds(call):
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    times = []
    for _ in range(11):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        call()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) / copies)
    return sorted(times)[len(times) // 2]


def once(q, k, v, causal, form):
    if form == "repeated":
        k, v = (x.repeat_interleave(heads // kv_heads, dim=1) for x in (k, v))
    return F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=form == "grouped")


forms = ["equal"] if heads == kv_heads else ["grouped", "repeated"]
print(json.dumps({"torch": torch.__version__, "device": torch.cuda.get_device_name(), "cudnn": torch.backends.cudnn.version()}))
for dtype in args.dtypes.split(","):
    for seq in args.seqs:
        batch = tokens // seq
        rows = lambda n: torch.randn(batch, n, seq, width, device="cuda", dtype=getattr(torch, dtype))
        q, k, v = rows(heads), rows(kv_heads), rows(kv_heads)
        for causal in (mask == "causal" for mask in args.masks.split(",")):
            flops = 4 * batch * heads * width * seq * seq / (2 if causal else 1)
            for name, backend in backends.items():
                for form in forms:
                    def chain():
                        x = q
                        for _ in range(copies):
                            x = once(x, k, v, causal, form)
                    about = {"dtype": dtype, "seq": seq, "batch": batch, "causal": causal, "backend": name, "keys": form}
                    try:
                        with sdpa_kernel(backend):
                            ms = milliseconds(chain)
                        print(json.dumps({**about, "ms": round(ms, 4), "tflops": round(flops / ms / 1e9, 1)}), flush=True)
                        break
                    except RuntimeError as error:
                        print(json.dumps({**about, "error": str(error)[:120]}), flush=True)
