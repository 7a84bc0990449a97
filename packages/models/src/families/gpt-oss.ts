// gpt-oss. OpenAI 2025, https://arxiv.org/abs/2508.10925
import { ops, type Value } from 'onnxformers';
import type { Family } from '../family';
import type { PackedEntry } from '../names';
import { decoderWith } from '../translate/heads';
import {
  attentionNames,
  llamaMixer,
  llamaStyle,
  outerNames,
  preNormNames,
  rmsNormOf,
  stackOf,
  windowed,
  windowedLayers,
  windowOf,
} from '../translate/llama';

const theirs = 'model.layers.{i}.mlp.experts';
const ours = (expert: number, map: string, part: string) => `stack.layers.{i}.feedforward.experts.${expert}.${map}.${part}`;

/** One expert's tensor of [experts, …]. */
const ofExpert = (x: Value, expert: number): Value =>
  ops.squeeze(ops.slice(x, { axes: [0], starts: [expert], ends: [expert + 1] }), [0]);
const stacked = (parts: readonly Value[]): Value =>
  ops.concat(
    parts.map((part) => ops.unsqueeze(part, [0])),
    0,
  );
const turned = (x: Value): Value => (x.rank === 2 ? ops.transpose(x, [1, 0]) : x);

/** Gates in even columns and the other half in odd ones. */
const halfOf = (x: Value, odd: number): Value => {
  const rows = ops.reshape(x, [Number(x.dims[0]) / 2, 2, ...x.dims.slice(1)]);
  return ops.squeeze(ops.slice(rows, { axes: [1], starts: [odd], ends: [odd + 1] }), [1]);
};
const joined = (gate: Value, up: Value): Value =>
  ops.reshape(ops.concat([ops.unsqueeze(gate, [1]), ops.unsqueeze(up, [1])], 1), [
    2 * Number(gate.dims[0]),
    ...gate.dims.slice(1),
  ]);

/** The tensors of all experts, [in, out] for each. */
function packedExperts(experts: number): readonly PackedEntry[] {
  const all = Array.from({ length: experts }, (_, e) => e);
  const down = (name: string, part: string): PackedEntry => ({
    theirs: `${theirs}.${name}`,
    ours: all.map((e) => ours(e, 'down_proj', part)),
    take: (x, e) => turned(ofExpert(x, e)),
    join: (parts) => stacked(parts.map(turned)),
  });
  const both = (name: string, part: string): PackedEntry => ({
    theirs: `${theirs}.${name}`,
    ours: all.flatMap((e) => [ours(e, 'gate_proj', part), ours(e, 'up_proj', part)]),
    take: (x, i) => halfOf(turned(ofExpert(x, Math.floor(i / 2))), i % 2),
    join: (parts) => stacked(all.map((e) => turned(joined(parts[2 * e]!, parts[2 * e + 1]!)))),
  });
  return [
    both('gate_up_proj', 'weight'),
    both('gate_up_proj_bias', 'bias'),
    down('down_proj', 'weight'),
    down('down_proj_bias', 'bias'),
  ];
}

/** gpt-oss: sinks in the softmax, windows in every second layer, experts with bounded gates. Its weights must not be in MXFP4. */
export const gptOss: Family = {
  ...llamaStyle,
  modelTypes: ['gpt_oss'],
  translate(config, at) {
    const norm = rmsNormOf(config);
    const within = windowedLayers(config, (i) => i % 2 === 0);
    const experts = config.int('num_local_experts');
    const head = decoderWith(config, at, {
      dim: config.int('hidden_size'),
      embedding: { name: 'token', vocabSize: config.int('vocab_size') },
      stack: stackOf(
        config.int('num_hidden_layers'),
        (i) => ({
          name: 'pre_norm',
          mixer: llamaMixer(config, {
            bias: config.flag('attention_bias', true),
            attention: windowed(within[i] ? windowOf(config) : undefined, { sinks: 'learned' }),
          }),
          feedforward: {
            name: 'sparse_moe',
            hidden: config.int('intermediate_size'),
            experts,
            topK: config.int('num_experts_per_tok', 4),
            routerBias: true,
            bias: true,
            activation: 'quick_gelu',
            limit: config.num('swiglu_limit', 7),
            upOffset: 1,
          },
          norm,
        }),
        norm,
      ),
    });
    return {
      config: head.config,
      names: [
        ...outerNames,
        ...preNormNames,
        ['model.layers.{i}.self_attn.sinks', 'stack.layers.{i}.mixer.attention.sinks'],
        ...attentionNames,
        ['model.layers.{i}.mlp.router.{x}', 'stack.layers.{i}.feedforward.router.{x}'],
        ...head.names,
      ],
      packed: packedExperts(experts),
    };
  },
};
