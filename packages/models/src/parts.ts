// An encoder-decoder in two parts, so that the memory is computed once and decoding has a cache.
import {
  type AnyModule,
  ConfigError,
  checkArguments,
  type LazyTensor,
  type Module,
  module,
  namesOf,
  type SequenceContext,
  type Value,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import type { Pretrained } from './pretrained';

type Inputs = Readonly<Record<string, Value>>;

/** A module and its weights. */
export interface Part {
  /** For `compile`. */
  readonly module: Module<(inputs: Inputs, ctx: SequenceContext) => Readonly<Record<string, Value>>>;
  /** Weights by the names of the module's parameters. */
  readonly weights: ReadonlyMap<string, LazyTensor>;
}

/**
 * The encoder of an encoder-decoder, which returns `hidden_states`, and its decoder with the head, which reads `ids` and `memory` and returns `logits`, or
 * `hidden_states` without a head.
 *
 * Throws   ConfigError for another model
 *
 * Example  const { encoder, decoder } = partsOf(await fromPretrained(filesAt('https://example.org/t5/')));
 *            const decoding = compile(decoder.module, { target: targets.cpu, inputs, weights: decoder.weights, state: 'io' });
 */
export function partsOf(pretrained: Pretrained): { readonly encoder: Part; readonly decoder: Part } {
  checkArguments('partsOf', { pretrained });
  const { module: whole, config, weights } = pretrained;
  const { encoder, decoder, head } = whole.children as Record<string, (AnyModule & Part['module']) | undefined>;
  if (whole.blockName !== 'encoder_decoder' || !encoder || !decoder)
    throw new ConfigError({
      path: 'partsOf',
      problem: 'not an encoder-decoder',
      expected: 'encoder_decoder',
      got: String(config.name),
    });
  const scale = Number(config.headScale ?? 1);
  const toLogits = head as unknown as ((x: Value) => Value) | undefined;
  const { aliases } = namesOf(whole);
  const all = new Map([...weights, ...[...aliases].map(([alias, name]) => [alias, weights.get(name)!] as const)]);
  const part = (made: Part['module']): Part => {
    const names = [...namesOf(made).parameters.keys()];
    return { module: made, weights: new Map(names.map((name) => [name, all.get(name)!])) };
  };
  return {
    encoder: part(module({ encoder }, (inputs: Inputs, ctx: SequenceContext) => ({ ...(encoder(inputs, ctx) as Inputs) }))),
    decoder: part(
      module({ decoder, head }, (inputs: Inputs, ctx: SequenceContext) => {
        const { hidden_states } = decoder(inputs, ctx) as { hidden_states: Value };
        return toLogits ? { logits: toLogits(ops.mul(hidden_states, scale)) } : { hidden_states };
      }),
    ),
  };
}
