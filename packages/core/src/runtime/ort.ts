// What we use of onnxruntime-node and onnxruntime-web, described here so that neither has to be installed.

/** A tensor of the runtime. */
export interface OrtTensor {
  readonly type: string;
  readonly dims: readonly number[];
  readonly data: unknown;
  /** `cpu`, or where else the elements are. */
  readonly location?: string;
  getData?(release?: boolean): Promise<unknown>;
  dispose?(): void;
}

/** A session of the runtime. */
export interface OrtSession {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  run(feeds: Record<string, OrtTensor>, fetches?: readonly string[], options?: object): Promise<Record<string, OrtTensor>>;
  release(): Promise<void>;
}

/** A runtime: `import * as ort from 'onnxruntime-node'`, or from 'onnxruntime-web/webgpu'. */
export interface Ort {
  readonly Tensor: new (
    // biome-ignore lint/suspicious/noExplicitAny: the runtimes overload it by type
    type: any,
    // biome-ignore lint/suspicious/noExplicitAny: see above
    data: any,
    dims: readonly number[],
  ) => OrtTensor;
  readonly InferenceSession: {
    // biome-ignore lint/suspicious/noExplicitAny: a path in Node, bytes anywhere
    create(model: any, options?: any): Promise<OrtSession>;
  };
  readonly env?: { readonly versions?: { readonly common?: string; readonly node?: string; readonly web?: string } };
  listSupportedBackends?(): readonly { readonly name: string; readonly bundled: boolean }[];
}
