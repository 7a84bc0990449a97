"""Reference for the attention bench: torch's scaled_dot_product_attention, every backend, the same sizes. Prints JSON lines."""
import json
import sys
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
import torch.nn.functional as F

backends = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION, "efficient": SDPBackend.EFFICIENT_ATTENTION}
heads, width, tokens, copies = 16, 128, 16384, 16

def milliseconds(call):
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    times = []
    for _ in range(15):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        call()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) / copies)
    return sorted(times)[len(times) // 2]

print(json.dumps({"torch": torch.__version__, "device": torch.cuda.get_device_name(), "cudnn": torch.backends.cudnn.version()}))
for seq in map(int, sys.argv[1:] or ["512", "2048", "8192", "16384"]):
    batch = tokens // seq
    q, k, v = (torch.randn(batch, heads, seq, width, device="cuda", dtype=torch.float16) for _ in range(3))
    for causal in (False, True):
        flops = 4 * batch * heads * width * seq * seq / (2 if causal else 1)
        for name, backend in backends.items():
            def chain():
                x = q
                for _ in range(copies):
                    x = F.scaled_dot_product_attention(x, k, v, is_causal=causal)
            try:
                with sdpa_kernel(backend):
                    ms = milliseconds(chain)
                print(json.dumps({"seq": seq, "batch": batch, "causal": causal, "backend": name, "ms": round(ms, 4), "tflops": round(flops / ms / 1e9, 1)}), flush=True)
            except RuntimeError as error:
                print(json.dumps({"seq": seq, "causal": causal, "backend": name, "error": str(error)[:120]}), flush=True)
