// onnxformers bench block CONFIG|NAME
import { finish, outOption } from '../../bench/finish';
import { blockOptions, blockSubjects } from '../../bench/subjects';
import { sweep } from '../../bench/sweep';
import { againstOption, whereOf } from '../../bench/where';
import { command } from '../../command';
import { targetOptions } from '../../compile-options';
import { aboutSlopes } from './attention';

export const benchBlock = command({
  name: 'bench block',
  words: ['[CONFIG|NAME]'],
  summary: 'Measures the block of a config, a registered block, or all of them.',
  help: [
    'onnxformers bench block layer.json --seq 1024',
    'onnxformers bench block multi_head --seq 1024 --lengths 1024,300',
    'onnxformers bench block --all --kind feedforward',
    '',
    'A block given by its name is measured at its first example, with these sizes in it: heads · head-dim channels, seq positions.',
    aboutSlopes,
  ].join('\n'),
  options: { ...targetOptions, ...blockOptions, ...againstOption, ...outOption },
  async run([word], values, output) {
    const subjects = await blockSubjects(word, values);
    const report = await sweep(subjects, { bench: 'block', dtype: values.dtype, vs: values.vs }, await whereOf(values), output);
    await finish(report, values.out, output);
  },
});
