// Values that simplifications do not see through.
import { Identity } from '../ir/define-op';
import { madeBy, type Value } from '../ir/graph';

/** A value equal to this one, from which no simplification reaches what it is made of. */
export const opaque = (v: Value): Value => (v.leaf || madeBy(v, Identity) ? v : v.graph.root.emit(Identity, [v], {}, [v])[0]!);
