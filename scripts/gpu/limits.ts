// Asks a GPU for the limits of kernels, without the sources: node limits.mjs FOLDER writes FOLDER/answers.json, which
// `npm run kernels -- --gpu FOLDER/answers.json` reads. `prepare-limits.ts` makes the folder.
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { askLimits, type LimitModel } from '../probe/limits';

const [folder = '.'] = process.argv.slice(2);
const models = JSON.parse(readFileSync(join(folder, 'models.json'), 'utf8')) as readonly LimitModel[];
const { version: runtime, outcomes, told } = askLimits(models, { name: 'cuda', env: {} }, { compares: true }, folder);
const named = spawnSync('nvidia-smi', ['--query-gpu=name', '--format=csv,noheader'], { encoding: 'utf8' });
const gpu = named.stdout?.trim().split('\n')[0] || 'NVIDIA GPU of unknown name';
const date = new Date().toISOString().slice(0, 10);
writeFileSync(join(folder, 'answers.json'), JSON.stringify({ runtime, gpu, date, outcomes, told }, undefined, 1));
const all = Object.values(outcomes);
const counts = [...new Set(all)].map((o) => `${o} ${all.filter((other) => other === o).length}`);
process.stdout.write(`${runtime} on ${gpu}: ${counts.join(', ')}\n`);
