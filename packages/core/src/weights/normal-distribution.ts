// The normal distribution by sums, products, quotients and square roots only, which every machine rounds alike; Math.exp and Math.log may differ.

const value = new Float64Array(1);
const words = new Uint32Array(value.buffer);

/** Natural logarithm of a positive normal number. */
export function log(x: number): number {
  value[0] = x;
  let exponent = (words[1]! >>> 20) - 1023;
  words[1] = (words[1]! & 0xfffff) | 0x3ff00000;
  let mantissa = value[0]!;
  if (mantissa > Math.SQRT2) {
    mantissa /= 2;
    exponent++;
  }
  // ln m = 2 artanh((m - 1) / (m + 1)), where the quotient is below 0.172.
  const t = (mantissa - 1) / (mantissa + 1);
  let sum = 0;
  for (let k = 23; k > 0; k -= 2) sum = sum * t * t + 1 / k;
  return exponent * Math.LN2 + 2 * t * sum;
}

/** e^-x for x >= 0. */
function decay(x: number): number {
  let halvings = 0;
  for (; x > 0.0625; halvings++) x /= 2;
  let y = 1;
  for (let k = 12; k > 0; k--) y = 1 - (x * y) / k;
  for (; halvings > 0; halvings--) y *= y;
  return y;
}

/** The probability that a standard normal number is below x. */
export function normalProbability(x: number): number {
  const size = Math.abs(x);
  if (size > 38) return x < 0 ? 0 : 1;
  const density = decay((size * size) / 2) / 2.5066282746310002;
  if (size > 1.5) {
    let fraction = 0;
    for (let k = 300; k > 0; k--) fraction = k / (size + fraction);
    const tail = density / (size + fraction);
    return x < 0 ? tail : 1 - tail;
  }
  let term = size;
  let sum = size;
  for (let k = 3; term > 1e-18; k += 2) {
    term *= (size * size) / k;
    sum += term;
  }
  return x < 0 ? 0.5 - density * sum : 0.5 + density * sum;
}

// Numerators and denominators of AS241, highest power first: near the middle, in the tails, in the far tails.
const middle = [
  [
    2509.0809287301227, 33430.57558358813, 67265.7709270087, 45921.95393154987, 13731.69376550946, 1971.5909503065513,
    133.14166789178438, 3.3871328727963665,
  ],
  [
    5226.495278852854, 28729.085735721943, 39307.89580009271, 21213.794301586597, 5394.196021424751, 687.1870074920579,
    42.31333070160091, 1,
  ],
] as const;
const tail = [
  [
    0.0007745450142783414, 0.022723844989269184, 0.2417807251774506, 1.2704582524523684, 3.6478483247632045, 5.769497221460691,
    4.630337846156546, 1.4234371107496835,
  ],
  [
    1.0507500716444169e-9, 0.0005475938084995345, 0.015198666563616457, 0.14810397642748008, 0.6897673349851, 1.6763848301838038,
    2.053191626637759, 1,
  ],
] as const;
const farTail = [
  [
    2.0103343992922881e-7, 2.7115555687434876e-5, 0.0012426609473880784, 0.026532189526576124, 0.29656057182850487,
    1.7848265399172913, 5.463784911164114, 6.657904643501103,
  ],
  [
    2.0442631033899397e-15, 1.421511758316446e-7, 1.8463183175100548e-5, 0.0007868691311456133, 0.014875361290850615,
    0.1369298809227358, 0.599832206555888, 1,
  ],
] as const;

function ratio([above, below]: readonly [readonly number[], readonly number[]], r: number): number {
  let numerator = 0;
  let denominator = 0;
  for (let k = 0; k < 8; k++) {
    numerator = numerator * r + above[k]!;
    denominator = denominator * r + below[k]!;
  }
  return numerator / denominator;
}

/**
 * The quantile of the standard normal distribution for probability p, 0 < p < 1; about 16 digits.
 * Source: Wichura 1988, "Algorithm AS 241: The percentage points of the normal distribution".
 */
export function normalQuantile(p: number): number {
  const q = p - 0.5;
  if (Math.abs(q) <= 0.425) return q * ratio(middle, 0.180625 - q * q);
  const r = Math.sqrt(-log(q < 0 ? p : 1 - p));
  const x = r <= 5 ? ratio(tail, r - 1.6) : ratio(farTail, r - 5);
  return q < 0 ? -x : x;
}
