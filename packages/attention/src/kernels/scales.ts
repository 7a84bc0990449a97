// Scales that some kernels do not take as what they are.

/** What a scale asks of a kernel. Attributes are float32, which holds some numbers as 0; several kernels take 0 for their default. */
export const scalesAsked = (scale = 1) => ({ 'scale of 0': Math.fround(scale) === 0, 'negative scale': Math.fround(scale) < 0 });
