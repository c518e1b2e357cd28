/** Gauss-Legendre quadrature. Pure. */

/** A rule on [0, 1]: the integral of f over [l, r] is (r - l) * Σ weights[i] * f(l + (r - l) * nodes[i]). */
export interface QuadratureRule {
  readonly nodes: Float64Array;
  readonly weights: Float64Array;
}

/**
 * The Gauss-Legendre rule of `count` points on [0, 1], exact for polynomials up to degree 2 * count - 1. Nodes are the
 * roots of the Legendre polynomial P_count, found by Newton from Tricomi's guess cos(π (i + ¾) / (count + ½)); the
 * weight of root x is 1 / ((1 - x²) P'(x)²) on [0, 1]. Source: Abramowitz and Stegun, 25.4.29.
 */
export function gaussLegendre(count: number): QuadratureRule {
  const nodes = new Float64Array(count);
  const weights = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    let x = Math.cos((Math.PI * (i + 0.75)) / (count + 0.5));
    let slope = 1;
    // quadratic convergence from a guess good to three digits
    for (let round = 0; round < 6; round++) {
      let below = 1;
      let value = x;
      for (let k = 2; k <= count; k++) [below, value] = [value, ((2 * k - 1) * x * value - (k - 1) * below) / k];
      slope = (count * (x * value - below)) / (x * x - 1);
      x -= value / slope;
    }
    nodes[i] = (1 - x) / 2;
    weights[i] = 1 / ((1 - x * x) * slope * slope);
  }
  return { nodes, weights };
}
