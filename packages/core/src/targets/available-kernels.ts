// Which attention kernels the CUDA provider may run on a machine: by compute capability, cuDNN, and the runtime's environment variables.
import type { AttentionSwitch } from '../lower/environment';
import type { Machine } from '../lower/target';

/** The kernels that the provider may choose from. */
export interface AvailableKernels {
  /** Compute capability · 10; the newest if unknown. */
  readonly sm: number;
  /** cuDNN can be loaded: MultiHeadAttention refuses to run without it, whatever kernel it would choose. */
  readonly loadsCudnn: boolean;
  /** cuDNN attends: MultiHeadAttention considers it before flash attention, or after it. */
  readonly cudnn: 'first' | 'last' | 'never';
  readonly flash: boolean;
  readonly efficient: boolean;
  readonly tensorRt: boolean;
  readonly tensorRtFlash: boolean;
  readonly tensorRtCross: boolean;
  readonly xqa: boolean;
  /** In float32 and bfloat16 the memory-efficient kernel runs from so many positions on. */
  readonly efficientFrom: number;
  /** Packed sequences whose queries, keys and values are in one tensor run by flash attention from so many positions on. */
  readonly flashTogetherFrom: number;
}

/** Compute capability · 10; the newest if unknown. */
export const smOf = ({ sm }: Machine): number => sm ?? 120;

/** What the provider may run on a machine. */
export function availableOn(machine: Machine): AvailableKernels {
  const given: Partial<Readonly<Record<string, string>>> = machine.environment ?? {};
  const off = (name: AttentionSwitch): boolean => Number(given[name] ?? 0) !== 0;
  const count = (name: AttentionSwitch, otherwise: number): number => Number(given[name] ?? otherwise);
  const sm = smOf(machine);
  return {
    sm,
    loadsCudnn: machine.cudnn !== 'none',
    cudnn: cudnnOn(machine, given.ORT_ENABLE_CUDNN_FLASH_ATTENTION),
    flash: sm >= 80 && !off('ORT_DISABLE_FLASH_ATTENTION'),
    efficient: !off('ORT_DISABLE_MEMORY_EFFICIENT_ATTENTION'),
    tensorRt: !off('ORT_DISABLE_FUSED_ATTENTION'),
    tensorRtFlash: !off('ORT_DISABLE_TRT_FLASH_ATTENTION'),
    tensorRtCross: !off('ORT_DISABLE_FUSED_CROSS_ATTENTION'),
    xqa: count('ORT_ENABLE_XQA', 1) !== 0,
    efficientFrom: count('ORT_MIN_SEQ_LEN_EFFICIENT_ATTENTION_FP32', 256),
    flashTogetherFrom: count('ORT_MIN_SEQ_LEN_FLASH_ATTENTION_PACKED_QKV', 513),
  };
}

/** By default the runtime uses cuDNN for attention from Hopper on: version 9.3 and later, except 9.10.0 and 9.10.1. */
function cudnnOn(machine: Machine, wanted: string | undefined): AvailableKernels['cudnn'] {
  const sm = smOf(machine);
  const [major = 9, minor = 0, patch = 0] = (machine.cudnn === 'none' ? '0' : (machine.cudnn ?? '9.14')).split('.').map(Number);
  const attends = major === 9 && minor === 10 ? patch > 1 : major > 9 || (major === 9 && minor >= 3);
  if (!attends || sm < 80 || wanted === '0') return 'never';
  if (sm >= 90) return 'first';
  return wanted === undefined ? 'never' : 'last';
}
