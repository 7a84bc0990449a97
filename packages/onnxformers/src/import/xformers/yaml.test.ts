import { ConfigError } from '@onnxformers/core';
import { describe, expect, it } from 'vitest';
import { fromXFormers, readXFormersYaml, zoo } from '../../index';

const stacks = `
emb: 24
sizes: { seq: 16, vocab: 31 }
heads: 3

model:
  _target_: xformers.factory.model_factory.xFormerConfig
  stack_configs:
    - _target_: xformers.factory.block_factory.xFormerEncoderConfig
      num_layers: 2
      dim_model: \${emb}
      residual_norm_style: pre
      position_encoding_config:
        name: vocab
        seq_len: \${sizes.seq}
        vocab_size: \${sizes.vocab}
      multi_head_config:
        num_heads: \${heads}
        residual_dropout: 0
        attention: { name: linformer, dropout: 0, seq_len: "\${sizes.seq}" }
      feedforward_config:
        name: MLP
        dropout: 0
        activation: relu
        hidden_layer_multiplier: 4
`;
const plain = {
  stack_configs: [
    {
      block_type: 'encoder',
      num_layers: 2,
      dim_model: 24,
      residual_norm_style: 'pre',
      position_encoding_config: { name: 'vocab', seq_len: 16, vocab_size: 31 },
      multi_head_config: { num_heads: 3, residual_dropout: 0, attention: { name: 'linformer', dropout: 0, seq_len: 16 } },
      feedforward_config: { name: 'MLP', dropout: 0, activation: 'relu', hidden_layer_multiplier: 4 },
    },
  ],
};

describe('a config in YAML', () => {
  it('is that in JSON, with references and targets replaced', async () => {
    const config = await readXFormersYaml(stacks, { at: 'model' });
    expect(config).toEqual(plain);
    const { kind, config: ours } = fromXFormers(config);
    expect(ours).toEqual(fromXFormers(plain).config);
    expect(zoo.parse(kind, ours)).toBeDefined();
  });

  it('takes overrides, also for what references name', async () => {
    const config = await readXFormersYaml(stacks, { at: 'model', overrides: { emb: 48, 'sizes.seq': 8 } });
    const [stack] = config.stack_configs as (typeof plain)['stack_configs'];
    expect(stack).toMatchObject({ dim_model: 48, position_encoding_config: { seq_len: 8 } });
  });

  it('follows relative references, references to references and mappings', async () => {
    const text = `
a:
  b: { x: "\${.y}", y: "\${..z}", name: "n\${.y}-\${..z}" }
  z: \${top}
top: 7
copy: \${a.b}
`;
    expect(await readXFormersYaml(text)).toEqual({
      a: { b: { x: 7, y: 7, name: 'n7-7' }, z: 7 },
      top: 7,
      copy: { x: 7, y: 7, name: 'n7-7' },
    });
  });

  it.each([
    ['defaults:\n  - stack: base\nname: x', /yaml\.defaults: composes other files, which are not read here/],
    ['a: [1, 2', /^yaml, line 1, column \d+:/],
    ['- 1', /yaml: not a config; expected a mapping/],
    [`a: \${bee}\nbees: 1`, /yaml\.a: "bee" is not in the document.*Did you mean "bees"/s],
    [`a: \${b}\nb: \${a}`, /a reference to itself; got a → b → a|a reference to itself; got b → a → b/],
    [`a: \${oc.env:HOME}`, /yaml\.a: a resolver of Hydra/],
    [`a: "\${b"`, /yaml\.a: a reference that cannot be read/],
    ['a: { b: ??? }', /yaml\.a\.b: left out in the document/],
    ['a: { _target_: torch.nn.Linear }', /yaml\.a\._target_: not a config of the original/],
    ['_target_: x.xFormerEncoderConfig\nblock_type: decoder', /yaml\._target_: differs from block_type/],
  ])('is refused: %s', async (text, message) => {
    const read = readXFormersYaml(text);
    await expect(read).rejects.toThrow(ConfigError);
    await expect(read).rejects.toThrow(message);
  });

  it('is refused for a place or an override that is not there', async () => {
    await expect(readXFormersYaml('a: 1', { at: 'b' })).rejects.toThrow('"b" is not in the document');
    await expect(readXFormersYaml('a: 1', { overrides: { b: 1 } })).rejects.toThrow('overrides.b: "b" is not in the document');
    await expect(readXFormersYaml('a: 1', { at: 'a' })).rejects.toThrow('expected a mapping');
  });
});
