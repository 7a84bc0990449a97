// The targets of the library.
import { cpu } from './cpu';
import { cuda } from './cuda';
import { portable } from './portable';
import { wasm } from './wasm';
import { webgpu } from './webgpu';

/**
 * The targets of lowering: `portable` for the standard ops of an opset, the others for ONNX Runtime's execution providers.
 *
 * Example  const model = compile(block, { target: targets.cuda, machine: { sm: 90 }, dtype: 'float16', inputs: { ids: ['int64', ['batch', 'seq']] } });
 */
export const targets = {
  /** Standard ONNX ops of an opset: 18, 21 (default) or 23. */
  portable,
  cpu,
  cuda,
  webgpu,
  wasm,
} as const;
