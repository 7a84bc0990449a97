// Every option with a fixed set of values, and every set of options: a misspelt word is an error that names the right one.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as ort from 'onnxruntime-node';
import * as web from 'onnxruntime-web';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compile } from './compile/compile';
import type { CompileOptions } from './compile/compile-options';
import { type GenerateOptions, generate } from './compile/generate';
import { initialize } from './compile/initialize';
import { serialize } from './compile/serialize';
import { interpret } from './interpret/interpret';
import { linear } from './layers/linear';
import { module } from './module/module';
import { saveOnnx } from './onnx/save';
import { GraphBuilder } from './ops/vocabulary';
import { arithmetic, attention, counting } from './runtime/models.test-helper';
import { createRunner, type RunOptions } from './runtime/runner';
import { createWorkerRunner } from './runtime/worker';
import { load, save } from './saved/folder';
import { portable } from './targets/portable';
import { saveSafetensors } from './weights/file-source';

const layer = linear(3, 5);
const inputs = { x: ['float32', ['n', 3]] } as const;
const compiled = (o: Readonly<Record<string, unknown>>) =>
  compile(
    module({ layer }, ({ x }: Record<string, never>) => ({ y: layer(x!) })),
    { target: portable(21), inputs, ...o } as CompileOptions,
  );
const cached = (state: unknown) => attention({ x: ['float32', ['batch', 'seq', 8]] }, { state: state as 'io' });
const generated = (o: Readonly<Record<string, unknown>>) => {
  const g = new GraphBuilder();
  const prompt = g.input('ids', 'int64', ['batch', 'seq']);
  return generate(g, { prompt, steps: 3, capacity: 11, step: (ids: unknown) => ids, ...o } as unknown as GenerateOptions);
};
const runner = (o: Readonly<Record<string, unknown>>) => createRunner(arithmetic(), ort, o);
const browser = (o: Readonly<Record<string, unknown>>) => createRunner(arithmetic(), web, { device: 'wasm', ...o });
const workerRunner = (o: Readonly<Record<string, unknown>>) =>
  createWorkerRunner(arithmetic(), { runtime: 'onnxruntime-node', ...o });
const webgpu = (o: Readonly<Record<string, unknown>>) => browser({ device: { name: 'webgpu', ...o } });
const feeds = { a: counting(1, 3), b: counting(1, 3) };

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'options-'));
});
afterAll(() => rm(dir, { recursive: true }));

describe('a misspelt value is refused, with the nearest one', () => {
  it.each<[option: string, use: () => unknown, meant: string]>([
    ['dtype of compile', () => compiled({ dtype: 'float_16' }), 'float16'],
    ['layout of compile', () => compiled({ layout: 'paked' }), 'packed'],
    ['state of compile', () => cached('oi'), 'io'],
    ['parameters of compile', () => compiled({ parameters: () => 'inputs' }), 'input'],
    ['assumptions of compile', () => compiled({ assumptions: ['finit padding'] }), 'finite padding'],
    ['dtype of an input', () => compiled({ inputs: { x: ['floot32', ['n', 3]] } }), 'float32'],
    ['role of an input', () => compiled({ inputs: { x: ['float32', ['n', 3], 'sequense'] } }), 'sequence'],
    ['scheme of initialize', () => initialize(layer, { scheme: 'vti' as 'vit' }), 'vit'],
    ['dtype of initialize', () => initialize(layer, { dtype: 'float_16' as 'float16' }), 'float16'],
    ['uninitialized of initialize', () => initialize(layer, { uninitialized: 'zeroes' as 'zeros' }), 'zeros'],
    ['compat of initialize', () => initialize(layer, { compat: 'xformer' as 'xformers' }), 'xformers'],
    ['prefer of interpret', () => interpret(compiled({}).traced, {}, { prefer: 'decomposed' as 'decompose' }), 'decompose'],
    ['device of createRunner', () => runner({ device: 'cudda' }), 'cuda'],
    ['device of createRunner: auto', () => runner({ device: 'atuo' }), 'auto'],
    ['device of createRunner: gpu', () => runner({ device: 'gpu' }), 'cuda'],
    ['device of createRunner, in browsers', () => browser({ device: 'wams' }), 'wasm'],
    ['device of createRunner, with options', () => runner({ device: { name: 'webgpo' } }), 'webgpu'],
    ['graphOptimizationLevel', () => runner({ session: { graphOptimizationLevel: 'disable' } }), 'disabled'],
    ['executionMode', () => runner({ session: { executionMode: 'paralel' } }), 'parallel'],
    ['executionMode, with device auto', () => runner({ device: 'auto', session: { executionMode: 'paralel' } }), 'parallel'],
    ['preferredLayout of WebGPU', () => webgpu({ preferredLayout: 'NHCW' }), 'NCHW'],
    ['validationMode of WebGPU', () => webgpu({ validationMode: 'wgpuonly' }), 'wgpuOnly'],
    ['storageBufferCacheMode of WebGPU', () => webgpu({ storageBufferCacheMode: 'buckets' }), 'bucket'],
    ['uniformBufferCacheMode of WebGPU', () => webgpu({ uniformBufferCacheMode: 'lazyrelease' }), 'lazyRelease'],
    ['queryResolveBufferCacheMode of WebGPU', () => webgpu({ queryResolveBufferCacheMode: 'simpel' }), 'simple'],
    ['defaultBufferCacheMode of WebGPU', () => webgpu({ defaultBufferCacheMode: 'disable' }), 'disabled'],
    ['device of createWorkerRunner', () => workerRunner({ device: 'cudda' }), 'cuda'],
    ['executionMode, in a worker', () => workerRunner({ session: { executionMode: 'paralel' } }), 'parallel'],
  ])('%s', async (_, use, meant) => {
    await expect((async () => use())()).rejects.toThrow(`Did you mean "${meant}"?`);
  });
});

describe('a misspelt option is refused, with the nearest one', () => {
  const run = async (o: Readonly<Record<string, unknown>>) => (await runner({}))(feeds, o as RunOptions);
  it.each<[where: string, use: () => unknown, meant: string]>([
    ['compile', () => compiled({ weight: 3 }), 'weights'],
    ['the machine of compile', () => compiled({ machine: { cuddn: '9.14' } }), 'cudnn'],
    ['the draws of compile', () => compiled({ draws: { sed: 3 } }), 'seed'],
    ['the state of compile', () => cached({ pagd: { blocks: 3, blockSize: 16 } }), 'paged'],
    ['the paged state of compile', () => cached({ paged: { blocks: 3, blocksize: 16 } }), 'blockSize'],
    ['generate', () => generated({ endID: 3 }), 'endId'],
    ['the pool of generate', () => generated({ paged: { blocks: 3, blocksize: 16 } }), 'blockSize'],
    ['initialize', () => initialize(layer, { seeds: 3 } as never), 'seed'],
    ['createRunner', () => runner({ onprogress: () => {} }), 'onProgress'],
    ['the session of createRunner', () => runner({ session: { intraOpNumThread: 3 } }), 'intraOpNumThreads'],
    ['a device', () => runner({ device: { name: 'cuda', deviceid: 3 } }), 'deviceId'],
    ['a run', () => run({ output: ['sum'] }), 'outputs'],
    ['the runtime in a run', () => run({ run: { tags: 'x' } }), 'tag'],
    ['the outputs of a run', () => run({ outputs: ['sums'] }), 'sum'],
    ['the feeds of a run', async () => (await runner({}))({ ...feeds, bb: feeds.b }), 'b'],
    ['dispose', async () => (await runner({})).dispose({ timeOut: 3 } as never), 'timeout'],
    ['createWorkerRunner', () => workerRunner({ onprogress: () => {} }), 'onProgress'],
    ['the thread of createWorkerRunner', () => workerRunner({ thread: { execArg: [] } }), 'execArgv'],
    ['save', () => save(arithmetic(), dir, { signals: undefined } as never), 'signal'],
    ['saveOnnx', () => saveOnnx(serialize(arithmetic()), dir, { file: undefined } as never), 'files'],
    ['saveSafetensors', () => saveSafetensors(join(dir, 'x'), new Map(), { meta_data: {} } as never), 'metadata'],
  ])('%s', async (_, use, meant) => {
    await expect((async () => use())()).rejects.toThrow(`Did you mean "${meant}"?`);
  });
});

it('the description of a saved model is checked too', async () => {
  await save(arithmetic(), dir);
  const path = join(dir, 'onnxformers.json');
  const saved = JSON.parse(await readFile(path, 'utf8'));
  await writeFile(path, JSON.stringify({ ...saved, assumptions: ['finite paddin'] }));
  await expect(load(dir)).rejects.toThrow('got "finite paddin"');
});
