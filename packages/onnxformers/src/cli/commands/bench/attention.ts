// onnxformers bench attention …
import { finish, outOption } from '../../bench/finish';
import { attentionOptions, attentionSubjects } from '../../bench/subjects';
import { sweep } from '../../bench/sweep';
import { againstOption, whereOf } from '../../bench/where';
import { command } from '../../command';
import { targetOptions } from '../../compile-options';

/** How a slope is measured, for the help of commands. */
export const aboutSlopes = [
  'Data is made inside the graph. The time of one copy is the slope between a graph of few copies in a chain and one of more, so that starting a',
  'run, copying to and from JavaScript and launching are not counted.',
].join('\n');

export const benchAttention = command({
  name: 'bench attention',
  words: [],
  summary: 'Measures one attention call, or every form of masks, biases and functions of the scores.',
  help: [
    'onnxformers bench attention --target cuda --dtype float16 --heads 16 --head-dim 128 --seq 8192 --causal --vs decomposed',
    'onnxformers bench attention --mask all --seq 1024 --batch 2 --out attention',
    'onnxformers bench attention --mask "causal;key lengths, causal;documents, causal"',
    '',
    aboutSlopes,
    'A form has data of its own: lengths from a full sequence downwards, windows of 128 positions, blocks of 64, biases for each head.',
  ].join('\n'),
  options: { ...targetOptions, ...attentionOptions, ...againstOption, ...outOption },
  async run(_, values, output) {
    const subjects = attentionSubjects(values);
    const report = await sweep(
      subjects,
      { bench: 'attention', dtype: values.dtype, vs: values.vs },
      await whereOf(values),
      output,
    );
    await finish(report, values.out, output);
  },
});
