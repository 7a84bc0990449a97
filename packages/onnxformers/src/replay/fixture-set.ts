// A folder of recorded cases: manifest.json and one safetensors file for each family.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, FileError, parseSafetensors, type Tensor } from '@onnxformers/core';

/** Tensors of one group of a case, by their local names. */
export type Group = ReadonlyMap<string, Tensor>;

/** One recorded case. */
export interface FixtureCase {
  readonly id: string;
  readonly block: string;
  readonly config: Readonly<Record<string, unknown>>;
  /** How the forward was called. */
  readonly call: Readonly<Record<string, unknown>>;
  /** Largest difference allowed. */
  readonly atol: number;
  /** Inputs of the forward. */
  readonly in: Group;
  /** The state dict. */
  readonly param: Group;
  /** Other data that the result depends on: draws, the masks actually used, weights that are not in the state dict. */
  readonly state: Group;
  readonly out: Group;
  readonly ref: Group;
}

/** A case that cannot be read, with its description from the manifest. */
export interface DamagedCase {
  readonly id: string;
  readonly block: string;
  readonly atol: number;
  readonly damaged: string;
}
/** A case, or the error of a damaged case. */
export type ReadCase = FixtureCase | DamagedCase;

interface Manifest {
  readonly format: number;
  readonly files: Readonly<Record<string, string>>;
  readonly cases: readonly unknown[];
}
/** The checked entry of a manifest for a case. */
interface ManifestCase extends Pick<FixtureCase, 'id' | 'block' | 'config' | 'call' | 'atol'> {
  readonly family: string;
  readonly tensors: Readonly<Record<string, readonly string[]>>;
}

/** The supported format. */
const format = 1;

/** The tensors of a family, read on request, or why there are none. */
type Family = ReadonlyMap<string, () => Tensor> | { readonly fault: unknown };

/**
 * The cases of a folder; a damaged case, or a case whose file is damaged, is replaced by its error.
 *
 * Throws   FileError when the folder does not contain a manifest of this format
 */
export async function readFixtures(folder: string): Promise<readonly ReadCase[]> {
  const path = join(folder, 'manifest.json');
  const manifest = await readManifest(path);
  const families = new Map<string, Promise<Family>>();
  const familyOf = (name: string): Promise<Family> => {
    const reading = families.get(name) ?? readFamily(folder, path, name, manifest.files[name]);
    families.set(name, reading);
    return reading;
  };
  const seen = new Set<string>();
  const cases: ReadCase[] = [];
  for (const [index, given] of manifest.cases.entries()) {
    const about = saidOf(given, index, seen);
    seen.add(about.id);
    try {
      const told = manifestCase(given, `${path}: cases[${index}]`);
      if (told.id !== about.id) throw new FileError({ path, problem: 'two cases have the same id', got: describe(told.id) });
      cases.push(caseOf(told, await familyOf(told.family), path));
    } catch (fault) {
      cases.push({ ...about, damaged: messageOf(fault) });
    }
  }
  return cases;
}

const messageOf = (fault: unknown): string => (fault instanceof Error ? fault.message : String(fault));
const isRecord = (x: unknown): x is Readonly<Record<string, unknown>> => typeof x === 'object' && x !== null && !Array.isArray(x);
const isNames = (x: unknown): boolean => Array.isArray(x) && x.every((name) => typeof name === 'string');

// The description of any case; one with an invalid or duplicate id gets a name of its own.
function saidOf(given: unknown, index: number, taken: ReadonlySet<string>): Omit<DamagedCase, 'damaged'> {
  const { id, block, atol }: Readonly<Record<string, unknown>> = isRecord(given) ? given : {};
  return {
    id: typeof id === 'string' && id && !taken.has(id) ? id : `${id ?? ''}(cases[${index}])`,
    block: typeof block === 'string' ? block : '?',
    atol: typeof atol === 'number' ? atol : 0,
  };
}

function manifestCase(given: unknown, place: string): ManifestCase {
  const entry = isRecord(given) ? given : {};
  const { id, block, family, config = {}, atol, tensors } = entry;
  const call = entry.call ?? {};
  const wrong = (name: string, expected: string, fits: boolean): void => {
    if (fits) return;
    throw new FileError({ path: `${place}.${name}`, problem: 'wrong value', expected, got: describe(entry[name]) });
  };
  if (entry !== given) throw new FileError({ path: place, problem: 'not a case', expected: 'an object', got: describe(given) });
  for (const name of ['id', 'block', 'family']) wrong(name, 'a name', typeof entry[name] === 'string' && entry[name] !== '');
  wrong('config', 'an object', isRecord(config));
  wrong('call', 'an object', isRecord(call));
  wrong('atol', 'a number >= 0', typeof atol === 'number' && atol >= 0 && Number.isFinite(atol));
  wrong('tensors', 'lists of names', isRecord(tensors) && Object.values(tensors).every(isNames));
  return { id, block, family, config, call, atol, tensors } as ManifestCase;
}

async function readFamily(folder: string, path: string, family: string, name: unknown): Promise<Family> {
  try {
    if (typeof name !== 'string') throw new FileError({ path, problem: 'a family has no file name', got: describe(family) });
    const file = join(folder, name);
    return new Map([...parseSafetensors(await bytesOf(file), file)].map(([local, t]) => [local, () => t.loadSync!()]));
  } catch (fault) {
    return { fault };
  }
}

function caseOf({ tensors, family, ...about }: ManifestCase, all: Family, path: string): FixtureCase {
  if ('fault' in all) throw all.fault;
  const group = (name: string): Group =>
    new Map(
      (tensors[name] ?? []).map((local) => {
        const full = `${about.id}/${name}/${local}`;
        const read = all.get(full);
        if (!read) throw new FileError({ path, problem: `the file of ${family} lacks a tensor`, expected: full });
        return [local, read()];
      }),
    );
  const out = group('out');
  if (!out.size) throw new FileError({ path, problem: `${about.id} has no result`, expected: 'tensors in the group out' });
  return { ...about, in: group('in'), param: group('param'), state: group('state'), out, ref: group('ref') };
}

async function readManifest(path: string): Promise<Manifest> {
  let manifest: Manifest;
  try {
    manifest = JSON.parse(new TextDecoder().decode(await bytesOf(path))) as Manifest;
  } catch (cause) {
    if (cause instanceof FileError) throw cause;
    throw new FileError({ path, problem: 'not JSON' }, { cause });
  }
  const whole = manifest?.format === format && typeof manifest.files === 'object' && Array.isArray(manifest.cases);
  if (!whole)
    throw new FileError({
      path,
      problem: 'not a manifest of recorded cases',
      expected: `format ${format}, files and cases`,
      got: describe(manifest),
    });
  return manifest;
}

async function bytesOf(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new FileError(
      { path, problem: 'cannot be read', got: cause instanceof Error ? cause.message : describe(cause) },
      { cause },
    );
  }
}
