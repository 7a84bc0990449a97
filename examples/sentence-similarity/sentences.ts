/** What is compared when no sentences are given. */
export const builtIn: readonly string[] = [
  'How old are you?',
  'What is your age?',
  'The cat sat on the mat.',
  'A kitten was resting on the rug.',
  'It will rain tomorrow.',
  'The forecast promises wet weather.',
  'He plays the guitar in a band.',
  'She is a musician.',
];
