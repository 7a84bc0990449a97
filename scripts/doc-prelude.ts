/** Names that the one-line examples of docstrings take for granted. */
import type { GraphBuilder, Model, Parameter, SequenceContext, Value } from '../packages/core/src/index';

export declare const x: Value;
export declare const q: Value;
export declare const k: Value;
export declare const v: Value;
export declare const loss: Value;
export declare const g: GraphBuilder;
export declare const ctx: SequenceContext;
export declare const model: Model;
export declare const weight: Parameter;
export declare const ort: typeof import('onnxruntime-node');
