// A recorded case: a checkpoint's folder with inputs and outputs of the reference implementation.
import { ConfigError, type LazyTensor, type Tensor } from '@onnxformers/core';
import { openWeights } from '@onnxformers/core/node';
import { configReader, parseJson } from '../config';
import { readFile } from '../files';
import { filesIn } from '../node';

/** One call of the reference: arguments and outputs by the names of its library. */
export interface Run {
  readonly name: string;
  readonly in: ReadonlyMap<string, Tensor>;
  readonly out: ReadonlyMap<string, Tensor>;
}

/** A folder in the format of the recorded set. */
export interface Case {
  readonly name: string;
  readonly folder: string;
  readonly runs: readonly Run[];
  /** There is a `config.legacy.json`, which means the same model. */
  readonly legacy: boolean;
  /** Largest difference between runs of the reference that should agree: kind of comparison → output → number. */
  readonly tolerance: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

/**
 * Reads `expected.json` and `expected.safetensors` of a folder.
 *
 * Throws   ConfigError for a folder that is not a case, or a tensor that is not there
 */
export async function readCase(folder: string): Promise<Case> {
  const name = folder.split('/').at(-1)!;
  const path = `${name}/expected.json`;
  const bytes = await readFile(filesIn(folder), 'expected.json');
  if (!bytes) throw new ConfigError({ path, problem: 'missing', expected: 'a recorded case' });
  const about = configReader(parseJson(bytes, path), path);
  const stored = await openWeights(`${folder}/expected.safetensors`);
  const runs = new Map<string, { in: Map<string, Tensor>; out: Map<string, Tensor> }>();
  for (const [key, info] of Object.entries(about.section('tensors')?.raw ?? {})) {
    const [run, side, ...rest] = key.split('/');
    const source = (info as { same_as?: string }).same_as ?? key;
    const tensor: LazyTensor | undefined = stored.get(source);
    if (!tensor || (side !== 'in' && side !== 'out'))
      throw new ConfigError({ path: `${path}: tensors`, problem: 'a tensor that is not recorded', got: source });
    const own = runs.get(run!) ?? { in: new Map(), out: new Map() };
    own[side].set(rest.join('/'), await tensor.load());
    runs.set(run!, own);
  }
  return {
    name,
    folder,
    runs: [...runs].map(([run, tensors]) => ({ name: run, ...tensors })),
    legacy: about.flag('legacy_config', false),
    tolerance: (about.section('tolerance')?.raw ?? {}) as Case['tolerance'],
  };
}

/** How exact a run has to be. */
export type Precision = 'float32' | 'float16';

/**
 * The largest difference that is allowed for an output: 8 times the largest that the reference shows itself for it, or for any output where it is not recorded. In float32
 * at least 2e-5.
 */
export function allowed({ tolerance }: Case, output: string, precision: Precision): number {
  const tables = Object.entries(tolerance).flatMap(([kind, table]) =>
    precision === 'float16' || kind !== 'float32_vs_float16' ? [table] : [],
  );
  const own = tables.map((table) => table[output]).filter((x) => x !== undefined);
  const all = own.length ? own : tables.flatMap((table) => Object.values(table));
  return Math.max(2e-5, 8 * Math.max(0, ...all));
}
