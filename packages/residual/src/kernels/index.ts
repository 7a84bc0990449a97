// The kernels of norms.
import { useSimplifiedLayerNormalization } from './simplified-layer-normalization';
import { useSkipLayerNormalization } from './skip-layer-normalization';
import { useSkipSimplifiedLayerNormalization } from './skip-simplified-layer-normalization';

/** Rules for any module that emits LayerNormalization or RMSNormalization, also of a sum. */
export const kernels = [useSkipLayerNormalization, useSkipSimplifiedLayerNormalization, useSimplifiedLayerNormalization] as const;
