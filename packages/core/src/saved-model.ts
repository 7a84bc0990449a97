// What stands beside a saved model: everything that the ONNX file does not say.
import type { Model, Port, Signature } from './compile';
import { toConfig } from './config/resolve';
import { ConfigError, describe, FileError } from './error';
import type { Decision } from './lower/lower';
import type { Machine } from './lower/target';

/** Format of the file; a reader refuses newer ones. */
export const formatVersion = 1;

/** The content of `onnxformers.json`. */
export interface SavedModel {
  readonly format: number;
  readonly target: string;
  readonly providers: readonly string[];
  readonly machine: Machine;
  readonly dtype: string;
  /** The config of the module; absent when no config made it. */
  readonly config?: Readonly<Record<string, unknown>>;
  readonly signature: Signature;
  readonly promises: readonly string[];
  readonly decisions: readonly Decision[];
}

/** The text of `onnxformers.json`. */
export function describeModel(model: Model): string {
  const config = configOf(model);
  const saved: SavedModel = {
    format: formatVersion,
    target: model.target.name,
    providers: model.target.providers,
    machine: model.machine,
    dtype: model.dtype,
    ...(config && { config }),
    signature: model.signature,
    promises: model.promises,
    decisions: model.decisions,
  };
  return `${JSON.stringify(saved, null, 2)}\n`;
}

// A module made by hand, or one that holds a function, has no config; the model runs without.
function configOf(model: Model): Readonly<Record<string, unknown>> | undefined {
  try {
    return JSON.parse(JSON.stringify(toConfig(model.module)));
  } catch (error) {
    if (error instanceof ConfigError) return undefined;
    throw error;
  }
}

/**
 * Reads the text of `onnxformers.json`.
 *
 * Throws   FileError when it is no JSON, of a newer format, or lacks the signature
 */
export function readDescription(text: string, path: string): SavedModel {
  let saved: Partial<SavedModel>;
  try {
    saved = JSON.parse(text) as Partial<SavedModel>;
  } catch (error) {
    throw new FileError({ path, problem: 'not JSON', got: describe(text), hint: 'Save the model again' }, { cause: error });
  }
  if (typeof saved !== 'object' || saved === null || typeof saved.format !== 'number')
    throw new FileError({
      path,
      problem: 'not the description of a model',
      expected: 'an object with a format',
      got: describe(saved),
    });
  if (saved.format > formatVersion)
    throw new FileError({
      path,
      problem: 'saved in a newer format',
      expected: `format ${formatVersion} or older`,
      got: `format ${saved.format}`,
      hint: 'Update onnxformers',
    });
  const { signature, providers } = saved;
  const ports = [
    ...(Array.isArray(signature?.inputs) ? signature.inputs : [undefined]),
    ...(Array.isArray(signature?.outputs) ? signature.outputs : [undefined]),
  ];
  if (!Array.isArray(providers) || !ports.every(isPort))
    throw new FileError({
      path,
      problem: 'the signature is damaged',
      expected: 'inputs and outputs with name, dtype and dims',
      got: describe(signature),
      hint: 'Save the model again',
    });
  return { promises: [], decisions: [], machine: {}, target: '', dtype: 'float32', ...saved } as SavedModel;
}

const isPort = (p: Port | undefined): boolean =>
  typeof p === 'object' && p !== null && typeof p.name === 'string' && typeof p.dtype === 'string' && Array.isArray(p.dims);
