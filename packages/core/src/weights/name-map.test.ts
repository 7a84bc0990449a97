import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../error';
import { nameMap } from './name-map';

const llama = nameMap([
  ['model.embed_tokens.weight', 'embedding.weight'],
  ['model.layers.{i}.self_attn.{x}', 'layers.{i}.mixer.{x}'],
  ['model.layers.{i}.mlp.experts.{j}.{x}', 'layers.{i}.feedforward.experts.{j}.{x}'],
  ['model.layers.{i}.mlp.{x}', 'layers.{i}.feedforward.{x}'],
  ['model.layers.{i}.{part}_layernorm.weight', 'layers.{i}.norms.{part}.weight'],
]);

describe('nameMap', () => {
  it('renames both ways', () => {
    const pairs = [
      ['model.embed_tokens.weight', 'embedding.weight'],
      ['model.layers.3.self_attn.q_proj.weight', 'layers.3.mixer.q_proj.weight'],
      ['model.layers.12.mlp.experts.7.up.weight', 'layers.12.feedforward.experts.7.up.weight'],
      ['model.layers.0.mlp.up_proj.bias', 'layers.0.feedforward.up_proj.bias'],
      ['model.layers.0.input_layernorm.weight', 'layers.0.norms.input.weight'],
    ] as const;
    for (const [foreign, ours] of pairs) {
      expect(llama.toOurs(foreign)).toBe(ours);
      expect(llama.toForeign(ours)).toBe(foreign);
    }
  });

  it('knows nothing of other names', () => {
    for (const name of [
      'model.norm.weight',
      'model.layers.x.mlp.up',
      'xmodel.embed_tokens.weight',
      'model.layers.01.mlp.up',
      '',
    ]) {
      expect(llama.toOurs(name)).toBeUndefined();
    }
    expect(llama.toForeign('layers.0.other.weight')).toBeUndefined();
  });

  it('lets a hole span dots at the start or end of a pattern, not within', () => {
    const map = nameMap([['{x}.gamma', '{x}.weight']]);
    expect(map.toOurs('a.b.gamma')).toBe('a.b.weight');
    expect(llama.toOurs('model.layers.0.a.b_layernorm.weight')).toBeUndefined();
  });

  it('takes patterns literally between the holes', () => {
    const map = nameMap([['a+b.{x}', 'c|d.{x}']]);
    expect(map.toOurs('a+b.w')).toBe('c|d.w');
    expect(map.toOurs('aab.w')).toBeUndefined();
    expect(map.toForeign('c|d.w')).toBe('a+b.w');
  });

  it('tries patterns in order', () => {
    const map = nameMap([
      ['a.{x}', 'first.{x}'],
      ['a.special', 'second'],
    ]);
    expect(map.toOurs('a.special')).toBe('first.special');
    expect(map.toForeign('second')).toBe('a.special');
  });

  it('is undone by the other direction, whatever the names', () => {
    const segment = fc.stringMatching(/^[a-z_$]{1,6}$/);
    const number = fc.nat(120).map(String);
    // Patterns that start with different words fit no common name.
    const pair = fc
      .tuple(segment, segment, fc.shuffledSubarray(['{i}', '{j}', '{a}', '{b}'], { minLength: 1 }))
      .chain(([f, o, holes]) =>
        fc
          .shuffledSubarray(holes, { minLength: holes.length })
          .map((other) => [`${f}.${holes.join('.')}`, `${o}.${other.join('.')}`] as const),
      );
    const distinct = fc.uniqueArray(pair, {
      minLength: 1,
      maxLength: 4,
      comparator: (p, q) => p[0].split('.')[0] === q[0].split('.')[0] || p[1].split('.')[0] === q[1].split('.')[0],
    });
    fc.assert(
      fc.property(distinct, fc.array(fc.tuple(number, segment), { minLength: 4, maxLength: 4 }), (pairs, fill) => {
        const map = nameMap(pairs);
        for (const [foreign] of pairs) {
          let at = 0;
          const name = foreign.replace(/\{(\w)\}/g, (_, h: string) => fill[at++]!['ij'.includes(h) ? 0 : 1]);
          const ours = map.toOurs(name);
          expect(ours).toBeTypeOf('string');
          expect(map.toForeign(ours!)).toBe(name);
          expect(map.toOurs(map.toForeign(ours!)!)).toBe(ours);
        }
      }),
    );
  });

  it('refuses pairs that cannot be undone', () => {
    const refusal = (foreign: string, ours: string) => {
      try {
        nameMap([[foreign, ours]]);
      } catch (error) {
        expect(error).toBeInstanceOf(ConfigError);
        return (error as Error).message;
      }
      throw new Error('nothing was thrown');
    };
    expect(refusal('a.{i}', 'b.{x}')).toBe(
      'name map "a.{i}" ↔ "b.{x}": the sides have different placeholders: i and x. Use every placeholder once on each side',
    );
    expect(refusal('a.{x}', 'b')).toContain('different placeholders: x and none');
    expect(refusal('a.{x}.{x}', 'b.{x}')).toContain('a placeholder appears twice on one side');
    expect(refusal('a.{x}{y}', '{x}.{y}')).toContain('two placeholders without text between them');
    expect(refusal('a.{x', 'a.{x}')).toContain('an unmatched brace');
  });
});
