// Where the runtime places the node of a sample, learned from its log.
import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * `own`: on the provider; `cpu`: the provider leaves it to the CPU; `none`: no kernel, or only one of another dtype between casts; `refused`: there is
 * one, which says when it runs that it does not do this.
 */
export type Placement = 'own' | 'cpu' | 'none' | 'refused';

/** A model: where it lies, how many nodes it has, the name of the one in question. */
export interface Probe {
  readonly path: string;
  readonly nodes: number;
  readonly node: string;
}

export interface Provider {
  readonly name: 'cpu' | 'cuda' | 'webgpu' | 'wasm';
  readonly env: NodeJS.ProcessEnv;
}

const placedAs: Readonly<Record<Provider['name'], string>> = {
  cpu: 'CPUExecutionProvider',
  wasm: 'CPUExecutionProvider',
  cuda: 'CUDAExecutionProvider',
  webgpu: 'WebGpuExecutionProvider',
};

// What a kernel says that looks at its attributes when it runs. (Adapters without 16-bit floats are not meant.)
const unsupported = /^@@stopped (?!.*f16).*(is not supported with|not implemented for|output modes are supported)/m;

/** Opens a session for every probe, in a process of its own that is started again where one brings it down. */
export function place(
  probes: readonly Probe[],
  { name, env }: Provider,
  folder: string,
): { readonly placements: Placement[]; readonly version: string } {
  const placements: Placement[] = probes.map(() => 'none');
  const version = askInTurn(
    'open-sessions.mjs',
    probes.map((p) => p.path),
    { name, env },
    folder,
    (part, index) => {
      placements[index] = unsupported.test(part)
        ? 'refused'
        : /^@@loaded/m.test(part)
          ? placementOf(part, placedAs[name], probes[index]!)
          : 'none';
    },
  );
  return { placements, version };
}

/**
 * Runs a script over a list of models, again from the next one where a model brings the process down, and hands over what it said about each.
 * Returns the version of the runtime.
 */
export function askInTurn(
  script: string,
  models: readonly unknown[],
  { name, env }: Provider,
  folder: string,
  hear: (said: string, index: number) => void,
): string {
  const list = join(folder, `${name}.json`);
  const log = join(folder, `${name}.log`);
  writeFileSync(list, JSON.stringify(models));
  let version = '';
  for (let from = 0; from < models.length; ) {
    const out = openSync(log, 'w');
    spawnSync(process.execPath, [join(import.meta.dirname, script), list, name, String(from)], {
      env: { ...process.env, ...env },
      stdio: ['ignore', out, out],
    });
    closeSync(out);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the log is coloured
    const text = readFileSync(log, 'utf8').replace(/\x1b\[[\d;]*m/g, '');
    const [head, ...parts] = text.split(/^@@model /m);
    version = /^@@version (.*)$/m.exec(head!)?.[1] ?? version;
    if (!parts.length) throw new Error(`no session was opened on ${name}: ${text.slice(-2000)}`);
    for (const part of parts) {
      const index = Number.parseInt(part, 10);
      hear(part, index);
      from = index + 1;
    }
    if (text.includes('@@end')) break;
  }
  return version;
}

function placementOf(log: string, own: string, { nodes, node: name }: Probe): Placement {
  const found = [...log.matchAll(/(All nodes|Node\(s\)) placed on \[(\w+)\]\. Number of nodes: (\d+)/g)];
  const [first] = found;
  if (!first) return 'none';
  // A different number: a function was written out, or casts were put around the node. WebGPU turns images before and after it instead.
  const turned = own === placedAs.webgpu && /Conv|Pool/.test(name);
  if (first[1] === 'All nodes') return Number(first[3]) !== nodes && !turned ? 'none' : first[2] === own ? 'own' : 'cpu';
  const listed = [...log.matchAll(/VerifyEachNodeIsAssignedToAnEp\] {3,}(\S+) \((.*)\)$/gm)].map((m) => ({
    at: m.index,
    op: m[1]!,
    name: m[2]!,
  }));
  const node = listed.find((l) => l.name === name);
  if (!node || listed.some((l) => l.name.startsWith('InsertedPrecisionFreeCast'))) return 'none';
  const section = found.filter((m) => m.index < node.at).at(-1)!;
  return section[2] === own ? 'own' : 'cpu';
}
