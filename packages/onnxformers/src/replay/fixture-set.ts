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
  /** What else the result depends on: draws, masks really used, weights that no state dict holds. */
  readonly state: Group;
  readonly out: Group;
  readonly ref: Group;
}

interface ManifestCase {
  readonly id: string;
  readonly family: string;
  readonly block: string;
  readonly config?: FixtureCase['config'];
  readonly tensors: Readonly<Record<string, readonly string[]>>;
  readonly call?: FixtureCase['call'];
  readonly atol: number;
}
interface Manifest {
  readonly format: number;
  readonly files: Readonly<Record<string, string>>;
  readonly cases: readonly ManifestCase[];
}

/** The format that is read. */
const format = 1;

/** Throws   FileError when the folder holds no manifest of this format, or lacks a tensor that it names */
export async function readFixtures(folder: string): Promise<readonly FixtureCase[]> {
  const path = join(folder, 'manifest.json');
  const manifest = await readManifest(path);
  const families = new Map<string, ReadonlyMap<string, Tensor>>();
  for (const family of new Set(manifest.cases.map((c) => c.family))) {
    const name = manifest.files[family];
    if (typeof name !== 'string') throw new FileError({ path, problem: 'no file for a family', got: describe(family) });
    const file = join(folder, name);
    families.set(family, new Map([...parseSafetensors(await bytesOf(file), file)].map(([local, t]) => [local, t.loadSync!()])));
  }
  return manifest.cases.map((c) => caseOf(c, families.get(c.family)!, path));
}

function caseOf(
  { id, block, config = {}, call = {}, atol, tensors, family }: ManifestCase,
  all: ReadonlyMap<string, Tensor>,
  path: string,
): FixtureCase {
  const group = (name: string): Group =>
    new Map(
      (tensors[name] ?? []).map((local) => {
        const full = `${id}/${name}/${local}`;
        const tensor = all.get(full);
        if (!tensor) throw new FileError({ path, problem: `the file of ${family} lacks a tensor`, expected: full });
        return [local, tensor];
      }),
    );
  return {
    id,
    block,
    config,
    call,
    atol,
    in: group('in'),
    param: group('param'),
    state: group('state'),
    out: group('out'),
    ref: group('ref'),
  };
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
