// Attention under a window as blocks or as a kernel, whichever costs less at the sizes of the run.
import {
  type AnyModule,
  and,
  type CompileOptions,
  causal,
  compile,
  type Dim,
  type DType,
  explain,
  interpret,
  keyLengths,
  type Mask,
  type Model,
  module,
  none,
  printExplanation,
  slidingWindow,
  type Target,
  targets,
  type Value,
} from '@onnxformers/core';
import { attendOp } from '@onnxformers/core/ops';
import { expectClose, footprint, randomArray, runBlock } from '@onnxformers/core/testing';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { scaledDotProduct } from '../softmax/scaled-dot-product';
import { local } from '../sparse/local';
import { kernels } from './index';

type Inputs = CompileOptions['inputs'];
const [batch, heads, kvHeads, width] = [2, 6, 2, 8];
const shapes = (seq: Dim, kvSeq: Dim = seq, dtype: DType = 'float32'): Inputs => ({
  q: [dtype, ['batch', heads, seq, width]],
  k: [dtype, ['batch', kvHeads, kvSeq, width]],
  v: [dtype, ['batch', kvHeads, kvSeq, width]],
});
const feeds = (seq: number, kvSeq = seq) => ({
  q: randomArray('q', [batch, heads, seq, width]),
  k: randomArray('k', [batch, kvHeads, kvSeq, width]),
  v: randomArray('v', [batch, kvHeads, kvSeq, width]),
});
const portable = targets.portable(21);

const attention = (mask: (inputs: Readonly<Record<string, Value>>) => Mask<Value>): AnyModule =>
  module({}, (inputs: Readonly<Record<string, Value>>) => ({
    y: attendOp(inputs.q!, inputs.k!, inputs.v!, { mask: mask(inputs) }),
  })) as AnyModule;
const compiled = (m: AnyModule, inputs: Inputs, target: Target = portable): Model =>
  compile(m, {
    target,
    inputs,
    rules: kernels,
    ...(inputs.q![0] === 'float16' && { dtype: 'float16' }),
  });
/** What the attention of blocks became: where the sequence is long, or with the mask of the blocks. */
const ofBlocks = ({ where = '', notes, chosen }: Model['decisions'][number]): boolean =>
  / > /.test(where) ||
  notes.some(({ text }) => /mask becomes a tensor .*: the keys of each block$/.test(text)) ||
  (chosen === 'decomposed' && where === '');

/** For the attention what it became, and for which sizes, without the attention that its blocks are. */
const attends = ({ decisions }: Model) => {
  const inBlocks = decisions.some((d) => d.chosen === 'Attend → blocks');
  return decisions
    .filter((d) => d.op === 'onnxformers.Attend' && !(inBlocks && ofBlocks(d)))
    .map(({ chosen, where }) => [chosen.replace('Attend → ', ''), where].filter(Boolean).join(' where '));
};
const window = (seen: number) => slidingWindow({ left: seen - 1, right: 0 });

describe('every attention with a window', () => {
  it('is computed in blocks, whichever block emits it', () => {
    const inputs = shapes('seq');
    const masked = attention(() => and(causal, slidingWindow({ left: 4 })));
    const emitted = module({ inner: scaledDotProduct({}) }, ({ q, k, v }: Readonly<Record<string, Value>>) => ({
      y: attendOp(q!, k!, v!, { mask: slidingWindow({ left: 3, right: 2 }) }),
    })) as AnyModule;
    for (const m of [masked, emitted, local({ window: 5 }) as unknown as AnyModule])
      expect(attends(compiled(m, inputs))[0]).toBe('blocks');
    expect(
      attends(
        compiled(
          attention(() => causal),
          inputs,
        ),
      ),
    ).toEqual(['chunks of queries', expect.stringMatching(/^decomposed where/), expect.stringMatching(/^decomposed where/)]);
  });

  // Below and above the number of keys at which blocks take over, which differs between targets.
  it.each([
    [portable, window(23)],
    [portable, slidingWindow({ left: 7, right: 4 })],
    [targets.cpu, window(23)],
    [targets.wasm, slidingWindow({ left: 7, right: 4 })],
  ] as const)('gives the same on both sides of the decision: %#', (target, mask) => {
    const model = compiled(
      attention(({ lengths }) => and(mask, keyLengths(lengths!))),
      { ...shapes('seq'), lengths: ['int64', ['batch']] },
      target,
    );
    const limit = Number(/^blocks.*seq <= (\d+)/.exec(attends(model).join())?.[1]);
    expect(limit).toBeGreaterThan(64);
    for (const seq of [31, limit, limit + 1]) {
      const given = { ...feeds(seq), lengths: { dtype: 'int64', dims: [2], data: Float64Array.of(seq, 29) } as const };
      expectClose(interpret(model.graph, given).y!, interpret(model.traced, given).y!, { rtol: 1e-6, atol: 1e-6 });
      const { largest } = footprint(model.graph, { batch, seq });
      // Beyond the limit, 64 keys for each query; up to it, all keys at most.
      expect(largest.at).toBeLessThanOrEqual(batch * heads * (seq > limit ? 32 * Math.ceil(seq / 32) * 64 : seq * seq));
    }
  });

  it.each([
    [17, 203],
    [113, 419],
    [1, 641],
  ])('decides by the pairs that %i queries on %i keys have', (seq, kvSeq) => {
    const inputs = shapes('seq', 'past + seq');
    const model = compiled(
      attention(() => window(11)),
      inputs,
    );
    expect(attends(model)).toEqual(['blocks', expect.stringMatching(/^decomposed where .*past\*seq.*<=/)]);
    const given = feeds(seq, kvSeq);
    expectClose(interpret(model.graph, given).y!, interpret(model.traced, given).y!, { rtol: 1e-6, atol: 1e-6 });
    const { largest } = footprint(model.graph, { batch, seq, past: kvSeq - seq });
    const rows = 32 * Math.ceil(seq / 32);
    const scores = seq * kvSeq <= rows * (64 + 128) ? seq * kvSeq : rows * 64;
    expect(largest.at).toBeLessThanOrEqual(batch * heads * Math.max(scores, width * (kvSeq + 64)));
  });

  it('at random windows and lengths', () => {
    const sides = fc.record({ left: fc.integer({ min: 0, max: 60 }), right: fc.integer({ min: 0, max: 60 }) });
    fc.assert(
      fc.property(sides, fc.integer({ min: 1, max: 290 }), fc.boolean(), (mask, seq, known) => {
        const model = compiled(
          attention(() => slidingWindow(mask)),
          shapes(known ? seq : 'seq'),
        );
        const given = feeds(seq);
        expectClose(interpret(model.graph, given).y!, interpret(model.traced, given).y!, { rtol: 1e-6, atol: 1e-6 });
      }),
      { numRuns: 12 },
    );
  });
});

describe('the cheaper one is chosen', () => {
  const chosen = (target: Target, dtype: DType, isCausal: boolean, seq: Dim = 'seq') =>
    attends(compiled(local({ window: 65, causal: isCausal }) as unknown as AnyModule, shapes(seq, seq, dtype), target));
  it('where the sizes are known', () => {
    expect(chosen(targets.cpu, 'float32', true, 128)).toEqual(['GroupQueryAttention']);
    expect(chosen(targets.cpu, 'float32', true, 512)).toEqual(['blocks']);
    expect(chosen(targets.cpu, 'float32', false, 128)).toEqual(['Attention']);
    expect(chosen(targets.cpu, 'float32', false, 512)).toEqual(['blocks']);
    expect(chosen(portable, 'float32', true, 128)).toEqual(['decomposed']);
    expect(chosen(portable, 'float32', true, 512)).toEqual(['blocks']);
  });
  it('in the run where they are not', () => {
    expect(chosen(targets.cpu, 'float32', true)).toEqual(['blocks', 'GroupQueryAttention where seq <= 448']);
    expect(chosen(portable, 'float32', true)).toEqual(['blocks', 'decomposed where seq <= 224']);
    expect(chosen(targets.cuda, 'float32', true)).toEqual(['blocks', expect.stringMatching(/Attention where/)]);
  });
  it('a kernel that skips the keys outside its window', () => {
    expect(chosen(targets.cuda, 'float16', true)).toEqual(['Attend(window) → PagedAttention']);
    expect(chosen(targets.cuda, 'float16', true, 65_536)).toEqual(['Attend(window) → PagedAttention']);
  });
});

describe('explain says why there are no blocks', () => {
  const told = (mask: Mask<never>, inputs: Inputs, bias = false) => {
    const m = module({}, ({ q, k, v, bias: given }: Readonly<Record<string, Value>>) => ({
      y: attendOp(q!, k!, v!, { mask, ...(bias && { bias: given! }) }),
    })) as AnyModule;
    const model = compiled(m, inputs);
    const { chosen, refused } = model.decisions.find((d) => d.op === 'onnxformers.Attend')!;
    expect(chosen).not.toBe('Attend → blocks');
    return refused.map((r) => `${r.rule}: ${r.reason.text}`).join();
  };
  it.each([
    [
      'a bias has a number for every pair',
      window(5),
      { ...shapes('seq'), bias: ['float32', [1, heads, 'seq', 'seq'], 'data'] },
      true,
    ],
    ['there may be fewer keys than queries: rows keys, seq queries', window(5), shapes('seq', 'rows')],
    ['blocks of 32 queries and 64 keys take longer than all pairs of 31 queries and 31 keys', window(5), shapes(31)],
    [
      'blocks of 32 queries and 64 keys take longer than all pairs of 1 queries and past + 1 keys',
      window(5),
      shapes(1, 'past + 1'),
    ],
    [
      'blocks would have 536870912 queries and 2684354560 keys, at most 2147483647 pairs are allowed',
      window(2 ** 31 - 1),
      shapes('seq'),
    ],
  ] as [string, Mask<never>, Inputs, boolean?][])('%s', (reason, mask, inputs, bias) =>
    expect(told(mask, inputs, bias)).toContain(`Attend → blocks: ${reason}`),
  );

  it.each([causal, none, slidingWindow({ left: 5 })])('nothing without a window: %#', (mask) => {
    const { decisions } = compiled(
      attention(() => mask),
      shapes('seq'),
    );
    expect(decisions.flatMap((d) => d.refused.map((r) => r.rule))).not.toContain('Attend → blocks');
  });

  it('for costs', () => {
    const model = compiled(
      attention(() => window(65)),
      shapes(128),
      targets.cpu,
    );
    expect(printExplanation(explain(model))).toMatch(/not blocks: its estimated cost is higher/);
  });
});

it('a window of a block is what plain attention under it gives', () => {
  const given = feeds(53);
  const model = compiled(local({ window: 9 }) as unknown as AnyModule, shapes(53));
  expectClose(interpret(model.graph, given).y!, runBlock(local({ window: 9 }), given).outputs.y!, { rtol: 1e-6, atol: 1e-6 });
});
