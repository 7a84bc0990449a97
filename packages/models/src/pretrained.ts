// What a pretrained model is: an ordinary module, its weights, and where they came from.
import type { CompileOptions, KindModule, LazyTensor, QuantizedModule } from '@onnxformers/core';
import type { ConfigReader } from './config';
import type { BlockConfig } from './family';
import type { PretrainedFiles } from './files';
import type { WeightNames } from './names';
import type { Task } from './task';

/** Everything that `compile` needs. */
export interface Compilable {
  /** An ordinary module. */
  readonly module: KindModule<'model'>;
  /** Weights by the names of the module's parameters; each is read when it is needed. */
  readonly weights: ReadonlyMap<string, LazyTensor>;
  /** Inputs for `compile`. */
  readonly inputs: CompileOptions['inputs'];
}

/** A pretrained model. */
export interface Pretrained extends Compilable {
  /** Its config, for `zoo.parse('model', config)`: change it to swap a mechanism, and use the same weights. */
  readonly config: BlockConfig;
  readonly task: Task;
  /** `model_type` of the config. */
  readonly modelType: string;
  /** The checkpoint's config.json as it is. */
  readonly original: Readonly<Record<string, unknown>>;
  /** Reads the keys of `original`. */
  readonly reader: ConfigReader;
  /** Names of the weights in checkpoints. */
  readonly names: WeightNames;
  /** What became of the checkpoint's weights. */
  readonly report: PretrainedReport;
  /** The format of each matrix that `quantize` stores in another one, by the path of the weight; empty without it. */
  readonly formats: QuantizedModule<KindModule<'model'>>['formats'];
  /** Where it was read from, with the files of its tokenizer, its preprocessing and its generation. */
  readonly files: PretrainedFiles;
}

/** What became of the weights of a checkpoint. */
export interface PretrainedReport {
  /** Our name → the name in the checkpoint. */
  readonly storedAs: ReadonlyMap<string, string>;
  /** In the checkpoint, of heads that this task does not have. */
  readonly unused: readonly string[];
  /** Buffers that no model needs. */
  readonly ignored: readonly string[];
}
