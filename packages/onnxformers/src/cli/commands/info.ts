// onnxformers info
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { compile, createRunner, module, type Ort, type RunError, targets, tensor, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { command } from '../command';
import { allTargets, targetOf, targetOptions } from '../compile-options';
import { missingForCuda, runtimeFolder } from '../cuda-libraries';
import { columns } from '../output';
import { gpus, importRuntime, type RuntimeName, runtimeNames } from '../runtimes';
import { ownVersion, runtimeVersion } from '../versions';

/** Whether a provider of a runtime runs a model of one node. */
export interface Trial {
  readonly runtime: RuntimeName;
  readonly provider: string;
  readonly works: boolean;
  readonly reason?: string;
}

export const info = command({
  name: 'info',
  words: [],
  summary: 'Versions, the execution providers that really load here, the kernels of each target, and the GPU.',
  help: 'onnxformers info --target cuda lists every kernel that the compiler may use there.',
  options: {
    target: { type: 'text', doc: 'list the kernels of this target', choices: targetOptions.target.choices },
    provider: { type: 'text', doc: 'try this provider only', value: 'NAME' },
    runtime: { type: 'text', doc: 'the runtime of that provider', choices: runtimeNames, default: 'onnxruntime-node' },
  },
  async run(_, values, output) {
    if (values.provider !== undefined) {
      const trial = await tryProvider(values.runtime as RuntimeName, values.provider);
      return output.result(() => line(trial).join('  '), trial);
    }
    if (values.target !== undefined) return kernels(values.target, output.result);
    const runtimes: { name: RuntimeName; version?: string; missing?: string }[] = [];
    const trials: Trial[] = [];
    for (const name of runtimeNames) {
      const ort = await importRuntime(name).catch((error: RunError) => error);
      if (ort instanceof Error) {
        runtimes.push({ name, missing: ort.got ?? ort.message });
        continue;
      }
      runtimes.push({ name, version: runtimeVersion(ort) });
      for (const provider of providersOf(ort)) {
        output.progress(`trying ${provider} of ${name} …`);
        trials.push(await tryElsewhere(name, provider));
      }
    }
    const cards = await gpus();
    const tables = allTargets().map(({ name, opset, providers, kernels }) => ({
      name,
      opset,
      providers,
      kernels: Object.keys(kernels).length,
      fused: Object.keys(kernels)
        .filter((k) => k.includes('.'))
        .map((k) => k.split('.').at(-1)!),
    }));
    const { node } = process.versions;
    const data = {
      onnxformers: ownVersion(),
      node,
      platform: `${process.platform}-${process.arch}`,
      runtimes,
      providers: trials,
      targets: tables,
      gpus: cards,
    };
    output.result(
      () =>
        [
          `onnxformers ${data.onnxformers}, Node ${node}, ${data.platform}`,
          columns(runtimes.map((r) => [r.name, r.version ?? `not installed: npm install ${r.name}`])),
          '\nproviders',
          columns(trials.length ? trials.map(line) : [['none without a runtime']]),
          '\ntargets',
          columns(
            tables.map((t) => [
              t.name,
              `opset ${t.opset}`,
              `${t.kernels} kernels`,
              t.fused.length ? `${t.fused.length} fused: ${t.fused.join(', ')}` : 'none fused',
            ]),
          ),
          '\nGPU',
          columns(
            cards.length
              ? cards.map((g) => [g.name, `sm ${g.sm}`, g.memory, `driver ${g.driver}`])
              : [['none reported by nvidia-smi']],
          ),
        ].join('\n'),
      data,
    );
  },
});

const line = ({ runtime, provider, works, reason }: Trial): string[] => [
  provider,
  runtime,
  works ? 'works' : `does not load: ${reason}`,
];
const providersOf = (ort: Ort): readonly string[] => ort.listSupportedBackends?.().map(({ name }) => name) ?? ['wasm'];

/** Runs x + x on a provider, in this process. */
async function tryProvider(runtime: RuntimeName, provider: string): Promise<Trial> {
  const double = module({}, ({ x }: Record<string, Value>) => ({ y: ops.add(x!, x!) }));
  const model = compile(double, { target: targets.cpu, inputs: { x: ['float32', [3]] } });
  try {
    const run = await createRunner(model, await importRuntime(runtime), { device: provider, session: { logSeverityLevel: 4 } });
    const { y } = await run({ x: tensor('float32', [3], [1, -2, 0.5]) });
    const right = String(y!.data) === '2,-4,1';
    await run.dispose();
    return { runtime, provider, works: right, ...(!right && { reason: `x + x gave ${String(y!.data)}` }) };
  } catch (error) {
    const { got, message } = error as { readonly got?: string; readonly message: string };
    const missing = provider === 'cuda' ? await missingForCuda(runtimeFolder()) : undefined;
    return { runtime, provider, works: false, reason: missing ?? shortened(got ?? message) };
  }
}

// Messages of the runtime begin with the position in its source.
const shortened = (said: string): string => said.replace(/^\/\S+:\d+ .*?(?=[A-Z][a-z]+ to )/, '').trim();

/** The same in a separate process, because a driver may print to the terminal or crash the process. */
async function tryElsewhere(runtime: RuntimeName, provider: string): Promise<Trial> {
  const args = [...process.execArgv, process.argv[1]!, 'info', '--provider', provider, '--runtime', runtime, '--json'];
  try {
    const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 120_000 });
    return JSON.parse(stdout) as Trial;
  } catch (error) {
    const { signal, message } = error as { readonly signal?: string | null; readonly message: string };
    return { runtime, provider, works: false, reason: signal ? `the process was ended by ${signal}` : message.split('\n')[0]! };
  }
}

function kernels(name: string, result: (text: () => string, json: unknown) => void): void {
  const { kernels: table, ...target } = targetOf(name);
  const rows = Object.entries(table).sort(([a], [b]) => (a < b ? -1 : 1));
  const json = { ...target, kernels: Object.fromEntries(rows.map(([key, { dtypes }]) => [key, dtypes])) };
  result(
    () =>
      [
        `${target.name}: opset ${target.opset}, ${rows.length} kernels`,
        columns(rows.map(([key, { dtypes }]) => [key, dtypes.join(' ')])),
      ].join('\n'),
    json,
  );
}
