// Opens a session of the caller's runtime on the requested provider.
import { nearest, RunError } from '../error';
import { lackedBy } from '../lower/runtime-version';
import { nameOfRuntime, type Ort, type OrtSession, versionOf } from './ort';
import { messageOf, translate } from './run-error';
import type { ExternalFile, Runnable } from './runnable';
import { type Provider, providerOf, providersOf, sessionOptions } from './session-options';

/** The provider that was loaded, and why others were not. */
export interface Opened {
  readonly session: OrtSession;
  /** The execution provider that was loaded. */
  readonly device: string;
  /** Providers that were tried before it, and why they failed. */
  readonly refused: readonly { readonly device: string; readonly reason: string }[];
}

/** The runtime prints only errors: its warnings are about its internals, and repeat in every run. */
export const severity = 3;

/**
 * Opens a model on the requested provider.
 *
 * Throws   ConfigError for an option without effect · RunError when the runtime cannot load the provider or the model
 */
export async function openSession(
  runnable: Runnable,
  ort: Ort,
  o: { readonly device?: 'auto' | Provider; readonly session?: Readonly<Record<string, unknown>> },
): Promise<Opened> {
  const options = { logSeverityLevel: severity, ...sessionOptions(ort, o.session) } as Record<string, unknown>;
  const external = [...externalFiles(runnable, ort), ...((options.externalData as readonly unknown[] | undefined) ?? [])];
  if (external.length) options.externalData = external;
  const refused: { device: string; reason: string }[] = [];
  for (const executionProviders of wanted(runnable, ort, o.device)) {
    const names = executionProviders.map((p) => (typeof p === 'string' ? p : String(p.name)));
    try {
      if (names[0] === runnable.providers[0]) checkVersion(runnable, ort);
      const session = await ort.InferenceSession.create(runnable.file, { ...options, executionProviders });
      return { session, device: deviceOf(ort, names[0]!), refused };
    } catch (error) {
      if (o.device !== 'auto')
        throw error instanceof RunError
          ? error
          : translate(error, `creating a session on ${names.join(', ')}`, runnable.nodes, offer(ort, error));
      refused.push({ device: names.join(', '), reason: messageOf(error) });
    }
  }
  throw new RunError({
    path: 'runtime',
    problem: 'no provider could be loaded',
    got: refused.map((r) => `${r.device}: ${r.reason}`).join('; '),
  });
}

// A missing kernel would make the session fail, or move a node to the CPU silently.
function checkVersion({ runtimes }: Runnable, ort: Ort): void {
  const version = versionOf(ort);
  const lacks = version === undefined ? [] : lackedBy(version, runtimes);
  if (!lacks.length) return;
  const able = runtimes.find((r) => !r.lacks.length)?.runtime;
  throw new RunError({
    path: 'runtime',
    problem: `${nameOfRuntime(ort)} ${version} lacks kernels that the model uses`,
    ...(able !== undefined && { expected: `ONNX Runtime ${able}` }),
    got: lacks.join('; '),
    hint: `Update the runtime, or compile with machine: { runtime: '${version}' }`,
  });
}

// In browsers the CPU provider is WebAssembly.
const deviceOf = (ort: Ort, name: string): string => (name === 'cpu' && nameOfRuntime(ort) === 'onnxruntime-web' ? 'wasm' : name);

/** The lists of providers to be tried. */
function wanted(
  { providers }: Runnable,
  ort: Ort,
  device: 'auto' | Provider | undefined,
): readonly (readonly ReturnType<typeof providerOf>[])[] {
  if (device !== undefined && device !== 'auto') return [[providerOf(ort, device)]];
  // From a list, the web runtime uses the providers that load and does not report the others.
  if (device === undefined) return [nameOfRuntime(ort) === 'onnxruntime-web' ? providers.slice(0, 1) : providers];
  return [...new Set([...providers, 'cpu'])].map((p) => [p]);
}

function externalFiles({ file, external = [] }: Runnable, ort: Ort): readonly ExternalFile[] {
  // onnxruntime-node finds files next to the model itself, and does not accept paths.
  return typeof file === 'string' && nameOfRuntime(ort) === 'onnxruntime-node' ? [] : external;
}

function offer(ort: Ort, error: unknown): string | undefined {
  if (!/backend not found|no available backend|not supported execution provider/i.test(messageOf(error))) return undefined;
  const names = providersOf(ort);
  const near = nearest(/\[([^\]]+)\] backend/.exec(messageOf(error))?.[1] ?? '', ['auto', ...names]);
  return names.length === 0
    ? undefined
    : `${near ? `Did you mean "${near}"? ` : ''}${nameOfRuntime(ort)} knows ${names.join(', ')}`;
}
