// Causal and local masks of a padded batch.
import { causal, causalFromTopLeft, slidingWindow, type Tensor } from '@onnxformers/core';
import { AttentionBias } from './attention-bias';
import { windowBound, windowSize } from './sequences';

/**
 * Causal from the first query: query i attends to keys 0 … i (top-left, also if there are more keys than queries).
 *
 * Example  const y = xops.memoryEfficientAttention(q, k, v, { attnBias: new LowerTriangularMask() });
 */
export class LowerTriangularMask extends AttentionBias {
  readonly mask = causalFromTopLeft;
}

/** {@link LowerTriangularMask} with a bias that is added to the scores, [1 or batch, 1 or heads, queries, keys]. */
export class LowerTriangularMaskWithTensorBias extends LowerTriangularMask {
  constructor(bias: Tensor) {
    super();
    Object.assign(this, { bias: new LowerTriangularMask().addBias(bias).bias });
  }
}

/** Causal from the last query, which is at the position of the last key (bottom-right), as with cached keys. */
export class LowerTriangularFromBottomRightMask extends AttentionBias {
  readonly mask: AttentionBias['mask'] = causal;

  /** Of these keys only the last `windowSize`. */
  makeLocalAttention(size: number): LowerTriangularFromBottomRightLocalAttentionMask {
    return new LowerTriangularFromBottomRightLocalAttentionMask(size);
  }
}

/** The key at the position of the query and the `windowSize − 1` before it; the last query is at the position of the last key. */
export class LowerTriangularFromBottomRightLocalAttentionMask extends LowerTriangularFromBottomRightMask {
  override readonly mask: AttentionBias['mask'];

  /** Throws   ConfigError for a window below 1 */
  constructor(size: number) {
    super();
    this.mask = lastKeys(windowSize('LowerTriangularFromBottomRightLocalAttentionMask.windowSize', size));
  }
}

/** From `windowLeft` keys before the query to `windowRight` after it; the last query is at the position of the last key. */
export class LocalAttentionFromBottomRightMask extends AttentionBias {
  readonly mask: AttentionBias['mask'];

  /** Throws   ConfigError for bounds that are not counts */
  constructor(windowLeft: number, windowRight: number) {
    super();
    const path = 'LocalAttentionFromBottomRightMask';
    const [left, right] = [windowBound(`${path}.windowLeft`, windowLeft), windowBound(`${path}.windowRight`, windowRight)];
    this.mask = slidingWindow({ left, right });
  }
}

/** The key at the position of the query, and those before it in a window of this size. */
export const lastKeys = (size: number) => slidingWindow({ left: size - 1, right: 0 });
