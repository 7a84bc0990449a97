// The pictures of what a model computes.
import { heatMaps } from './heat-maps';
import { cosines, type InnerStates, rowsOf } from './inner-states';

/** The attention of all heads of a layer, counted from 0. A row is a token that attends, a column one that is attended to. */
export function attentionPicture({ tokens, layers }: InnerStates, layer: number): string {
  const { attention } = layers[layer]!;
  return heatMaps({
    title: `Layer ${layer + 1}: which token (row) attends to which (column)`,
    labels: tokens,
    maps: Array.from({ length: attention.dims[0]! }, (_, head) => ({
      title: `head ${head + 1}`,
      values: rowsOf(attention, head),
    })),
    range: [0, 1],
  });
}

/** How similar the hidden states of the tokens are after each layer; opposite ones are as pale as unrelated ones. */
export function hiddenStatesPicture({ tokens, layers }: InnerStates): string {
  return heatMaps({
    title: 'Cosines between the hidden states of tokens',
    labels: tokens,
    maps: layers.map(({ hidden }, i) => ({ title: `after layer ${i + 1}`, values: cosines(rowsOf(hidden)) })),
    range: [0, 1],
  });
}
