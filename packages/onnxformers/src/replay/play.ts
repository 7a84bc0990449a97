// A recorded case as a play: a module, its weights and its feeds.
import {
  type AnyModule,
  type Kind,
  type KindModule,
  module,
  type SequenceContext,
  type Tensor,
  type Value,
  type WeightSource,
} from '@onnxformers/core';
import { fromXFormers, fromXFormersWeights, type XFormersConfig, type XFormersOptions } from '../import/xformers/index';
import { zoo } from '../index';
import type { FixtureCase, Group } from './fixture-set';

/** A case that is ready to be compiled and run; its outputs have the names of the record. */
export interface Play {
  readonly module: AnyModule;
  readonly weights: WeightSource;
  readonly feeds: Readonly<Record<string, Tensor>>;
  /** Recorded random draws, by the names of their inputs. */
  readonly draws?: Readonly<Record<string, Tensor>>;
  /** The input with the role `sequence`; absent if the record has none of the usual names. */
  readonly sequence?: string;
}

/** Makes a play of a case. Throws   ConfigError with the problem `noCounterpart` for a block that is not here */
export type Player = (c: FixtureCase) => Play;

export type Inputs = Readonly<Record<string, Value>>;

/** Recorded cases contain the behaviour of the original. */
export const recorded: XFormersOptions = { compat: 'xformers' };

/** A module of ours, and its weights with the prefix `block`. */
export interface Built<K extends Kind> {
  readonly block: KindModule<K>;
  readonly weights: WeightSource;
}

/** The weights of a case: its state dict, and the biases and random features that the original does not save in it. */
export function weightsOf({ param, state }: FixtureCase): Group {
  const unsaved = [...state].filter(([name]) => /(^|\.)features$|\.bias$/.test(name));
  return new Map([...param, ...unsaved.map(([name, t]) => [name === 'features' ? 'feature_map.features' : name, t] as const)]);
}

/** The module of an original config, with renamed weights. `change` adapts our config to the call of the case. */
export function build<K extends Kind>(
  kind: K,
  config: XFormersConfig,
  weights: WeightSource,
  options: XFormersOptions = recorded,
  change: (config: Readonly<Record<string, unknown>>) => object = (c) => c,
): Built<K> {
  const translated = fromXFormers(config, options);
  const block = zoo.parse(kind, change(translated.config));
  return { block, weights: prefixed('block.', fromXFormersWeights(weights, config, options)) };
}

/** Adds a prefix to all names. */
export const prefixed = (prefix: string, weights: WeightSource): WeightSource =>
  new Map([...weights].map(([name, w]) => [`${prefix}${name}`, w]));

/** Names of the input with the role `sequence`, in order of preference. */
const leading = ['q', 'query', 'x', 'src', 'target'];
const isImage = (name: string, { dims }: Tensor): boolean => (name === 'x' || name === 'src') && dims.length === 4;
const led = (feeds: Play['feeds']): Pick<Play, 'feeds' | 'sequence'> => {
  const sequence = leading.find((name) => feeds[name] && !isImage(name, feeds[name]));
  return { feeds, ...(sequence !== undefined && { sequence }) };
};

/** A play of one block: its call, on inputs with the names of the record. */
export function playOf<K extends Kind>(
  { block, weights }: Built<K>,
  feeds: Play['feeds'],
  call: (block: KindModule<K>, inputs: Inputs, ctx: SequenceContext) => Record<string, Value>,
): Play {
  return {
    module: module({ block }, (inputs: Inputs, ctx: SequenceContext) => call(block, inputs, ctx)),
    weights,
    ...led(feeds),
  };
}

/** A play without a registered block: utilities, and blocks composed by hand. */
export function playByHand(
  children: Readonly<Record<string, AnyModule>>,
  weights: WeightSource,
  feeds: Play['feeds'],
  call: (inputs: Inputs, ctx: SequenceContext) => Record<string, Value>,
): Play {
  return { module: module(children, call), weights, ...led(feeds) };
}

/** The tensor of a group. Throws if the record does not have it. */
export function tensorOf(group: Group, name: string): Tensor {
  const tensor = group.get(name);
  if (!tensor) throw new Error(`the record has no tensor "${name}", but ${[...group.keys()].join(', ') || 'none'}`);
  return tensor;
}

/** The same elements in other dims. */
export const withDims = (t: Tensor, dims: readonly number[]): Tensor => ({ ...t, dims });
