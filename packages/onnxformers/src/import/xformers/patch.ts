// The patch embedding of the original: a convolution of an image.
import { optionsOf } from '../options';
import { renamed, type Translated } from '../translated';
import type { XFormersConfig } from './options';

/**
 * A patch embedding: the embedding `patch`. The original also accepts a sequence, which it reshapes to a square image; here the input is an image.
 *
 * Throws   ConfigError for a wrong or missing value and for an unknown option
 *
 * @param dim width of the enclosing block, if `out_channels` is omitted
 */
export function patchFrom(given: XFormersConfig, path: string, dim?: number): Translated<'embedding'> {
  const o = optionsOf(given, path);
  o.word('pool_type', ['CONV_2D'], 'CONV_2D');
  const config = {
    name: 'patch',
    inChannels: o.int('in_channels'),
    kernelSize: o.int('kernel_size'),
    stride: o.int('stride'),
    padding: o.int('padding', { min: 0, default: 0 }),
    dim: o.int('out_channels', dim === undefined ? {} : { default: dim }),
  };
  o.finish();
  return { kind: 'embedding', config, ...renamed(['1', 'proj']) };
}
