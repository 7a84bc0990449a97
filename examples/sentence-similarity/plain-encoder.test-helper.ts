// An encoder that computes in plain loops but looks like one compiled for the CPU.
import type { BuildEncoder } from './encoder';
import { examplePicture } from './picture.test-helper';
import { plainEncoder } from './plain.test-helper';

/** Builds the encoder of plain loops. */
export const buildPlain: BuildEncoder = async (weights) => {
  const plain = plainEncoder(weights);
  return {
    async encode({ ids, lengths }) {
      const width = ids.dims[1]!;
      return [...(lengths.data as BigInt64Array)].map((length, row) => {
        const tokens = (ids.data as BigInt64Array).subarray(row * width, row * width + Number(length));
        return Float32Array.from(plain([...tokens].map(Number)).vector);
      });
    },
    computes: 'float64',
    runtime: 'plain loops, float64',
    picture: examplePicture(),
    async dispose() {},
  };
};
