// Environment variables of the runtime that a prediction depends on.

/** Those that decide which attention kernel the CUDA provider runs. */
export const attentionSwitches = [
  'ORT_ENABLE_CUDNN_FLASH_ATTENTION',
  'ORT_DISABLE_FLASH_ATTENTION',
  'ORT_DISABLE_MEMORY_EFFICIENT_ATTENTION',
  'ORT_DISABLE_FUSED_ATTENTION',
  'ORT_DISABLE_TRT_FLASH_ATTENTION',
  'ORT_DISABLE_FUSED_CROSS_ATTENTION',
  'ORT_ENABLE_XQA',
  'ORT_MIN_SEQ_LEN_EFFICIENT_ATTENTION_FP32',
  'ORT_MIN_SEQ_LEN_FLASH_ATTENTION_PACKED_QKV',
] as const;
/** One of {@link attentionSwitches}. */
export type AttentionSwitch = (typeof attentionSwitches)[number];
