// The inputs a block reads when it is compiled by itself, from what its config says.
import { type AnyModule, type CompileOptions, ConfigError, describe, modulesOf } from '@onnxformers/core';

type Inputs = CompileOptions['inputs'];
type Dims = Inputs[string][1];

/**
 * What to give `compile` as `inputs`: `ids` int64 for a model with an embedding, `x` float32 for others, `memory` where something attends to one. Sizes
 * that a config leaves open are named `batch`, `seq`, `memory_seq`.
 *
 * Throws   ConfigError for a block whose config does not tell its sizes: attention, rotation, attentionBias, and modules made by hand
 *
 * Example  const model = compile(block, { target: targets.cpu, inputs: inputsOf(block) });
 */
export function inputsOf(module: AnyModule): Inputs {
  if (module.kind === 'embedding') return { ids: ids() };
  if (module.kind === 'model' && module.blockName === 'encoder_decoder') return encoderDecoder(module);
  if (module.kind === 'model') return model(module);
  // Elementwise, or the norm that does nothing.
  const dim = dimOf(module) ?? (module.kind === 'activation' || module.kind === 'norm' ? 'dim' : undefined);
  if (module.kind === undefined || dim === undefined)
    throw new ConfigError({
      path: 'inputs',
      problem: 'the config does not tell the sizes of the inputs',
      expected: "inputs such as { x: ['float32', ['batch', 'seq', 64]] }",
      got: describe(module),
      hint: 'attention takes q, k and v [batch, heads, seq, head_dim]',
    });
  return { x: ['float32', ['batch', 'seq', dim]], ...memory(module, dim) };
}

const ids = (seq = 'seq'): Inputs[string] => ['int64', ['batch', seq]];
const dimOf = (m: AnyModule): number | undefined => (typeof m.about.config?.dim === 'number' ? m.about.config.dim : undefined);

function model(module: AnyModule): Inputs {
  const dim = dimOf(module);
  return { ...source(module, ''), ...(dim !== undefined && memory(module, dim)) };
}

function source(module: AnyModule, prefix: string): Inputs {
  if (module.children.embedding) return { [`${prefix}ids`]: ids(`${prefix}seq`) };
  return { [`${prefix}x`]: ['float32', ['batch', `${prefix}seq`, dimOf(module) ?? 'dim'] satisfies Dims] };
}

// The decoder reads its memory from the encoder.
function encoderDecoder({ children }: AnyModule): Inputs {
  const { encoder, decoder } = children as { readonly encoder: AnyModule; readonly decoder: AnyModule };
  return { ...source(encoder, ''), ...source(decoder, 'decoder_') };
}

function memory(module: AnyModule, dim: number | string): Inputs {
  const crossing = modulesOf(module).find(({ item }) => item.about.config?.cross === true)?.item;
  if (!crossing) return {};
  const { memoryDim } = crossing.about.config as { readonly memoryDim?: unknown };
  return { memory: ['float32', ['batch', 'memory_seq', typeof memoryDim === 'number' ? memoryDim : dim]] };
}
