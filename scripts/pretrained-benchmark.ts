/**
 * Builds an ONNX model of 1.1 B parameters from a Hugging Face folder (Llama's shape, safetensors in float16), and compares the time with that of copying
 * the safetensors file with fsync, in one run. Each model is built in a process of its own, whose peak memory is printed.
 *
 *     node --conditions=@onnxformers/source --import tsx scripts/pretrained-benchmark.ts [rounds, default 3] [folder]
 *
 * Needs 7 GB on the disk, which it frees.
 */
import { spawnSync } from 'node:child_process';
import { copyFile, mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { save, saveSafetensors } from '../packages/core/src/node';
import { fromPretrained } from '../packages/models/src/node';
import { compile, type LazyTensor, targets } from '../packages/onnxformers/src/index';

const [dim, layers, hidden, keys, vocab] = [2048, 22, 5632, 256, 32_000];
const config = {
  model_type: 'llama',
  architectures: ['LlamaForCausalLM'],
  hidden_size: dim,
  num_hidden_layers: layers,
  intermediate_size: hidden,
  num_attention_heads: 32,
  num_key_value_heads: 4,
  vocab_size: vocab,
  tie_word_embeddings: false,
};

/** Finite float16 numbers that differ from weight to weight. */
function invented(dims: readonly number[], which: number): LazyTensor {
  const count = dims.reduce((a, b) => a * b, 1);
  const load = async () => ({
    dtype: 'float16' as const,
    dims,
    data: Uint16Array.from({ length: count }, (_, i) => Math.imul(i + which, 2654435761) >>> 18),
  });
  return { dtype: 'float16', dims, byteLength: 2 * count, load };
}

function shapes(): [string, readonly number[]][] {
  const layer = (i: number): [string, readonly number[]][] =>
    Object.entries({
      'input_layernorm.weight': [dim],
      'post_attention_layernorm.weight': [dim],
      'self_attn.q_proj.weight': [dim, dim],
      'self_attn.k_proj.weight': [keys, dim],
      'self_attn.v_proj.weight': [keys, dim],
      'self_attn.o_proj.weight': [dim, dim],
      'mlp.gate_proj.weight': [hidden, dim],
      'mlp.up_proj.weight': [hidden, dim],
      'mlp.down_proj.weight': [dim, hidden],
    }).map(([name, dims]) => [`model.layers.${i}.${name}`, dims]);
  return [
    ['model.embed_tokens.weight', [vocab, dim]],
    ...Array.from({ length: layers }, (_, i) => layer(i)).flat(),
    ['model.norm.weight', [dim]],
    ['lm_head.weight', [vocab, dim]],
  ];
}

/** In a process of its own: from the folder to the saved model. */
async function build(folder: string, out: string, quantize: 'int4' | undefined): Promise<void> {
  const start = performance.now();
  const { module, inputs, weights } = await fromPretrained(folder);
  await save(compile(module, { target: targets.cuda, dtype: 'float16', inputs, weights, ...(quantize && { quantize }) }), out);
  const seconds = (performance.now() - start) / 1e3;
  console.log(JSON.stringify({ seconds, peak: process.resourceUsage().maxRSS / 1024 }));
}

const median = (xs: readonly number[]): number => [...xs].sort((a, b) => a - b)[xs.length >> 1]!;

async function compare(rounds: number, parent: string): Promise<void> {
  const folder = await mkdtemp(join(parent, 'pretrained-benchmark-'));
  try {
    await writeFile(join(folder, 'config.json'), JSON.stringify(config));
    const source = join(folder, 'model.safetensors');
    await saveSafetensors(
      source,
      shapes().map(([name, dims], i) => [name, invented(dims, i)] as const),
    );
    const count = shapes().reduce((n, [, dims]) => n + dims.reduce((a, b) => a * b, 1), 0);
    console.log(`${(count / 1e9).toFixed(2)} B parameters in float16, Node ${process.versions.node}`);
    const found: Record<string, { readonly seconds: number[]; readonly peak: number[] }> = {};
    const note = (name: string, seconds: number, peak: number): void => {
      found[name] ??= { seconds: [], peak: [] };
      found[name].seconds.push(seconds);
      found[name].peak.push(peak);
    };
    for (let round = 0; round < rounds; round++) {
      const start = performance.now();
      await copyFile(source, join(folder, 'copy'));
      const handle = await open(join(folder, 'copy'), 'r+');
      await handle.sync();
      await handle.close();
      note('copy', (performance.now() - start) / 1e3, 0);
      await rm(join(folder, 'copy'));
      for (const kind of ['float16', 'int4']) {
        const out = join(folder, kind);
        const flags = ['--conditions=@onnxformers/source', '--import', 'tsx'];
        const { stdout, stderr } = spawnSync(process.execPath, [
          ...flags,
          fileURLToPath(import.meta.url),
          'build',
          folder,
          out,
          kind,
        ]);
        if (!stdout.length) throw new Error(String(stderr));
        const { seconds, peak } = JSON.parse(String(stdout)) as { readonly seconds: number; readonly peak: number };
        note(kind, seconds, peak);
        await rm(out, { recursive: true });
      }
    }
    const copy = median(found.copy!.seconds);
    for (const [name, { seconds, peak }] of Object.entries(found))
      console.log(
        `${name}: ${seconds.map((s) => s.toFixed(2)).join(', ')} s, median ratio ${(median(seconds) / copy).toFixed(2)}, peak ${Math.max(...peak).toFixed(0)} MiB`,
      );
  } finally {
    await rm(folder, { recursive: true });
  }
}

const [first = '3', folder = tmpdir(), out, kind] = process.argv.slice(2);
if (first === 'build') await build(folder, out!, kind === 'int4' ? kind : undefined);
else await compare(Number(first), folder);
