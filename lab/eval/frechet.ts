/** How far two sets of feature vectors lie apart, each taken as a Gaussian. Pure. */
import { EigenvalueDecomposition, Matrix } from 'ml-matrix';
import { requireInteger, requireLength } from '../../src/numerics/bounds.ts';

/** First two moments of a set of feature vectors of length d. */
export interface Moments {
  /** [d] */
  readonly mean: Float64Array;
  /** [d * d] unbiased, symmetric */
  readonly covariance: Float64Array;
  readonly count: number;
}

/** Moments of `features`, n vectors [d]. Throws RangeError when fewer than two, or of unequal length. */
export function momentsOf(features: readonly ArrayLike<number>[]): Moments {
  const count = requireInteger('number of features', features.length, 2, 2 ** 24);
  const size = features[0]!.length;
  const mean = new Float64Array(size);
  for (const [i, feature] of features.entries()) {
    requireLength(`features[${i}]`, feature.length, size);
    for (let k = 0; k < size; k++) mean[k]! += feature[k]! / count;
  }
  const covariance = new Float64Array(size * size);
  const centred = new Float64Array(size);
  for (const feature of features) {
    for (let k = 0; k < size; k++) centred[k] = feature[k]! - mean[k]!;
    for (let k = 0; k < size; k++)
      for (let l = 0; l < size; l++) covariance[k * size + l]! += (centred[k]! * centred[l]!) / (count - 1);
  }
  return { mean, covariance, count };
}

/**
 * The squared Fréchet distance to `reference` as a function of other moments: |m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½),
 * at least 0. The root of the reference is taken once.
 *
 * tr (C1 C2)^½ is the sum of the roots of the eigenvalues of S C2 S with S = C1^½: symmetric, so none is complex and
 * rounding below 0 is cut off. It falls with the number of samples on average (by about a constant over n), so only
 * sets of one size may be compared with each other; with n at most d a covariance has no full rank, which the formula
 * bears. Laws: 0 for equal moments, symmetric, the same after any rotation, |m1 - m2|² for equal covariances. Source:
 * Heusel et al., arXiv 1706.08500, eq. 6; Dowson and Landau 1982.
 */
export function frechetTo(reference: Moments): (other: Moments) => number {
  const size = reference.mean.length;
  requireLength('reference covariance', reference.covariance.length, size * size);
  const { eigenvectorMatrix: vectors, realEigenvalues: values } = symmetric(toMatrix(reference));
  const root = vectors
    .mmul(Matrix.diag(values.map((value) => Math.sqrt(Math.max(0, value)))))
    .mmul(vectors.transpose());
  return (other) => {
    requireLength('mean', other.mean.length, size);
    const { realEigenvalues: product } = symmetric(root.mmul(toMatrix(other)).mmul(root));
    let distance = 0;
    for (let k = 0; k < size; k++) {
      distance +=
        (reference.mean[k]! - other.mean[k]!) ** 2 +
        reference.covariance[k * size + k]! +
        other.covariance[k * size + k]!;
      distance -= 2 * Math.sqrt(Math.max(0, product[k]!));
    }
    return Math.max(0, distance);
  };
}

const toMatrix = ({ covariance, mean }: Moments): Matrix => Matrix.from1DArray(mean.length, mean.length, covariance);

/** Eigenvalues of the symmetric part: what rounding made unequal would send the solver down its general path. */
const symmetric = (matrix: Matrix): EigenvalueDecomposition =>
  new EigenvalueDecomposition(Matrix.add(matrix, matrix.transpose()).mul(0.5), { assumeSymmetric: true });
