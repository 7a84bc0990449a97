// A pretrained model: the files of a Hugging Face checkpoint as an ordinary module and its weights.
import {
  type CompileOptions,
  checkArguments,
  checkOptions,
  FileError,
  type InputType,
  type KindModule,
  namesOf,
  openSafetensors,
  openSharded,
  type Quantize,
  quantizeWeights,
} from '@onnxformers/core';
import { inputsOf, zoo } from 'onnxformers';
import { type ConfigReader, configReader, parseJson } from './config';
import { families as known } from './families/index';
import { type BlockConfig, type Family, familyOf, type Translation } from './family';
import { type FilesByName, filesInMemory, type PretrainedFiles, readFile } from './files';
import { withBlocks } from './gguf/blocks-in-model';
import { type GgufCheckpoint, readGguf } from './gguf/read';
import { weightNames } from './names';
import type { Pretrained } from './pretrained';
import { checkTask, type Task, taskOf } from './task';
import { completeNames, findWeights, type NamedWeights, type Stored, sameWeights } from './weights';

/** Options of {@link fromPretrained}. */
export interface PretrainedOptions {
  /** Which head the model has. Default: the one that `architectures` in config.json names. */
  readonly task?: Task;
  /** Families of your own; they are asked before those of the library. */
  readonly families?: readonly Family[];
  /** Name of the config file. Default `config.json`. */
  readonly configFile?: string;
  /**
   * Name of a GGUF file, which is read instead of config.json and safetensors: architectures llama, qwen2, qwen3, gemma, gemma2, gemma3; tensors of F32, F16, BF16, Q8_0,
   * Q4_0, Q4_K, Q6_K. The matrices of Q4_0 and Q8_0 stay codes in blocks of 32, which MatMulNBits reads; the others are dequantised. With `quantize` all are
   * dequantised and quantised again; `quantize: false` only dequantises.
   */
  readonly ggufFile?: string;
  /** Stores matrices as codes of 4 or 8 bits (weight-only quantization): `'int4'`, `'int8'`, or formats by role. See `quantizeWeights`. */
  readonly quantize?: Quantize | false;
}

/**
 * A pretrained model from the files of a Hugging Face checkpoint: `config.json`, and `model.safetensors` or several safetensors files with
 * `model.safetensors.index.json`. Weights are read when they are needed, in float32, float16 or bfloat16. No file outside of `files` is read.
 *
 * Throws   FileError for a missing or damaged file · ConfigError for an unknown family, task, config or format of weights · WeightError for missing and unknown
 *          weights, by name with the nearest
 *
 * Example  const bert = await fromPretrained(new Map([['config.json', new Uint8Array()], ['model.safetensors', new Uint8Array()]]));
 *            const compiled = compile(bert.module, { target: targets.cpu, inputs: bert.inputs, weights: bert.weights });
 */
export async function fromPretrained(files: PretrainedFiles | FilesByName, o: PretrainedOptions = {}): Promise<Pretrained> {
  checkArguments('fromPretrained', { files });
  checkOptions('fromPretrained', o, { task: true, families: true, configFile: true, ggufFile: true, quantize: true });
  const source = 'open' in files ? files : filesInMemory(files);
  const gguf = o.ggufFile === undefined ? undefined : await openGguf(source, o.ggufFile);
  const config = gguf ? configReader(gguf.config, o.ggufFile) : await readConfig(source, o.configFile ?? 'config.json');
  const family = familyOf(config, [...(o.families ?? []), ...known]);
  if (o.task !== undefined) checkTask(o.task);
  const task = o.task ?? taskOf(config);
  checkHead(family, task, config);
  const model = await load(config, family, task, gguf?.tensors ?? (await storedWeights(source)), source);
  if (o.quantize) return { ...model, ...quantizeWeights(model.module, model.weights, o.quantize) };
  return gguf && o.quantize === undefined ? withBlocks(model, gguf) : model;
}

async function openGguf(files: PretrainedFiles, name: string): Promise<GgufCheckpoint> {
  const file = await files.open(name);
  if (!file) throw new FileError({ path: files.name, problem: `no ${name}`, expected: 'a GGUF file' });
  return readGguf(file, name);
}

/** Reads and parses a config file. */
export async function readConfig(files: PretrainedFiles, name: string): Promise<ConfigReader> {
  const bytes = await readFile(files, name);
  if (!bytes)
    throw new FileError({ path: files.name, problem: `no ${name}`, expected: 'the folder of a Hugging Face checkpoint' });
  return configReader(parseJson(bytes, name), name);
}

const [single, index] = ['model.safetensors', 'model.safetensors.index.json'];

async function storedWeights(files: PretrainedFiles): Promise<Stored> {
  const whole = await files.open(single);
  if (whole) return openSafetensors(whole);
  const shards = await readFile(files, index);
  if (!shards)
    throw new FileError({
      path: files.name,
      problem: 'no weights in the safetensors format',
      expected: `${single} or ${index}`,
      hint: 'Convert checkpoints of other formats (pytorch_model.bin) to safetensors first',
    });
  const open = async (name: string) => {
    const source = await files.open(name);
    if (source) return source;
    throw new FileError({ path: files.name, problem: `no ${name}, which ${index} names`, expected: 'all files of the index' });
  };
  return openSharded(new TextDecoder().decode(shards), open, index);
}

function checkHead({ tasks }: Family, task: Task, config: ConfigReader): void {
  if (tasks.includes(task)) return;
  throw config.refuse('architectures', `this family has no head for the task "${task}"`, tasks.join(', '));
}

async function load(
  config: ConfigReader,
  family: Family,
  task: Task,
  stored: Stored,
  files: PretrainedFiles,
): Promise<Pretrained> {
  const { own, bare } = nameTests(config, family, task);
  const single = await withoutCopies(completeNames(stored, family, bare), family, config, own);
  const translation = family.translate(config, { task, has: (name) => single.byName.has(name) });
  const { config: ours, names: entries, packed } = translation;
  const module = zoo.parse('model', ours);
  const names = weightNames(entries, packed);
  const { parameters } = namesOf(module);
  const found = findWeights(parameters, single, names, family.unused ?? []);
  return {
    module,
    config: ours,
    weights: found.weights,
    inputs: inputsFor(module, translation),
    task,
    modelType: config.text('model_type'),
    original: config.raw,
    reader: config,
    names,
    report: { storedAs: found.storedAs, unused: found.unused, ignored: single.ignored },
    formats: new Map(),
    files,
  };
}

/** Whether a name is one of the model's, or at least one of the family's. */
function nameTests(config: ConfigReader, family: Family, task: Task) {
  const { names, packed } = family.translate(config, { task, has: () => true });
  const { oursOf } = weightNames(names, packed);
  const own = (name: string): boolean => oursOf(name).length > 0;
  const bare = (name: string): boolean => own(name) || (family.unused ?? []).some((pattern) => pattern.test(name));
  return { own, bare };
}

/** Without weights that only repeat another one: a head that is tied to its embedding, a bias stored twice. */
async function withoutCopies(
  weights: NamedWeights,
  { repeated = [] }: Family,
  config: ConfigReader,
  own: (name: string) => boolean,
): Promise<NamedWeights> {
  // The config says that the head is not tied.
  const separate = config.raw.tie_word_embeddings === false;
  const byName = new Map(weights.byName);
  const ignored = [...weights.ignored];
  for (const [copy, name] of repeated) {
    const [a, b] = [byName.get(copy), byName.get(name)];
    if (!a || !b || (separate && own(copy)) || !(await sameWeights(a.weight, b.weight))) continue;
    byName.delete(copy);
    ignored.push(a.stored);
  }
  return { byName, ignored };
}

/** A padded batch with a mask of its padding; images of the model's size. */
function inputsFor(
  module: KindModule<'model'>,
  { config: { embedding }, masked = true, imageSize }: Translation,
): CompileOptions['inputs'] {
  const { ids, pixels, ...others } = inputsOf(module);
  const types = (embedding as BlockConfig | undefined)?.typeVocabSize !== undefined;
  return {
    ...(ids && { ids }),
    ...(pixels && { pixels: imageSize === undefined ? pixels : ofSize(pixels, imageSize) }),
    ...others,
    ...(ids && masked && { attention_mask: ids }),
    ...(ids && masked && types && { token_type_ids: ids }),
  };
}

function ofSize([dtype, dims]: InputType, side: number): InputType {
  return [dtype, dims.map((d) => (d === 'height' || d === 'width' ? side : d))];
}
