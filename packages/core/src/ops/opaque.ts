// Values that stop simplification.
import { Identity } from '../ir/define-op';
import { madeBy, type Value } from '../ir/graph';

/** A value equal to this one, through which no simplification can reach its operands. */
export const opaque = (v: Value): Value => (v.leaf || madeBy(v, Identity) ? v : v.graph.root.emit(Identity, [v], {}, [v])[0]!);
