/** Names that the one-line examples of docstrings take for granted. */
import type {
  AnyBlock,
  AnyModule,
  CompileOptions,
  GraphBuilder,
  KindModule,
  Mask,
  Model,
  Parameter,
  SequenceContext,
  Value,
  WeightSource,
} from '../packages/core/src/index';
import type { XFormersConfig } from '../packages/onnxformers/src/import/xformers/index';

export declare const x: Value;
export declare const q: Value;
export declare const k: Value;
export declare const v: Value;
export declare const loss: Value;
export declare const g: GraphBuilder;
export declare const mask: Mask<Value>;
/** The tensor of a mask of one's own. */
export declare const oddKeys: never;
export declare const seqLen: number;
export declare const path: string;
export declare const ctx: SequenceContext;
/** A module that is not compiled yet, and one of a kind. */
export declare const block: AnyModule;
export declare const layers: KindModule<'stack'>;
export declare const images: KindModule<'model'>;
export declare const myAttention: AnyBlock;
export declare const model: Model;
export declare const inputs: CompileOptions['inputs'];
export declare const weights: WeightSource;
export declare const weight: Parameter;
export declare const xFormersConfig: XFormersConfig;
export declare const ort: typeof import('onnxruntime-node');
export declare const it: typeof import('vitest').it;
