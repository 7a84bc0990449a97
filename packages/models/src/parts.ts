// The encoders and decoders of a model, as models of their own.
import {
  type AnyModule,
  type CompileOptions,
  ConfigError,
  checkArguments,
  type Dim,
  type KindModule,
  type LazyTensor,
  type Module,
  module,
  namesOf,
  type SequenceContext,
  type Value,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { inputsOf } from 'onnxformers';
import type { Compilable, Pretrained } from './pretrained';

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

/**
 * The two encoders of a model of texts and images (CLIP, SigLIP), each with everything that `compile` needs. Both return `hidden_states` and `pooler_output`, the vector that is
 * compared: divide it by its length for `text_embeds` and `image_embeds` of the whole model.
 *
 * Shapes   text: ids int64 [batch, seq], vision: pixels [batch, channels, height, width] → hidden_states [batch, positions, dim], pooler_output [batch, poolerDim]
 * Throws   ConfigError for another model
 *
 * Example  const { text } = towersOf(await fromPretrained(filesAt('https://example.org/clip/')));
 *            const embedding = compile(text.module, { target: targets.cpu, inputs: text.inputs, weights: text.weights });
 */
export function towersOf(pretrained: Pretrained): { readonly text: Compilable; readonly vision: Compilable } {
  checkArguments('towersOf', { pretrained });
  const { module: whole, config, weights } = pretrained;
  const { text, vision } = whole.children as Readonly<Record<string, KindModule<'model'> | undefined>>;
  if (whole.blockName !== 'dual_encoder' || !text || !vision)
    throw new ConfigError({
      path: 'towersOf',
      problem: 'not a model of texts and images',
      expected: 'dual_encoder',
      got: String(config.name),
    });
  const tower = (name: string, own: KindModule<'model'>): Compilable => {
    return {
      module: own,
      inputs: inputsWithin(own, pretrained.inputs),
      weights: new Map([...namesOf(own).parameters.keys()].map((path) => [path, weights.get(`${name}.${path}`)!])),
    };
  };
  return { text: tower('text', text), vision: tower('vision', vision) };
}

/** Inputs of the whole model that a tower has, or that mask its texts. */
function inputsWithin(tower: KindModule<'model'>, whole: CompileOptions['inputs']): CompileOptions['inputs'] {
  const names = Object.keys(inputsOf(tower));
  const own = Object.entries(whole).filter(
    ([name]) => names.includes(name) || (name === 'attention_mask' && names.includes('ids')),
  );
  const batch = (d: Dim): Dim => (d === 'texts' || d === 'images' ? 'batch' : d);
  return Object.fromEntries(own.map(([name, [dtype, dims]]) => [name, [dtype, dims.map(batch)] as const]));
}
