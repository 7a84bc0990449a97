// Writes the checkpoint to the folder model/, from which the page reads it.
import { mkdir, writeFile } from 'node:fs/promises';
import { moonshineTiny } from './checkpoint';

const folder = new URL('model/', import.meta.url);
await mkdir(folder, { recursive: true });
for (const [name, bytes] of await moonshineTiny()) await writeFile(new URL(name, folder), bytes);
