/** The sizes of the network that `weights.ts` describes. */
export const sizes = {
  vocabulary: 8002,
  maxTokens: 128,
  heads: 4,
  hidden: 1536,
  widths: [256, 512, 512],
  output: 512,
  epsilon: 1e-6,
} as const;
