/** What `detail.ts` measured, as figures of a picture and of a pair of pictures. Pure. */

/** Measures of another number are of another kind: they must not be mixed. */
export const MEASURES = 1;

/** What was measured of one thing that the prompt asked for and the detector found. */
export interface ThingDetail {
  readonly name: string;
  /** of the fitted sprite and the picture, 0 to 1 */
  readonly correlation: number;
  /** share of the sprite's fine detail that the picture has: 1 all, 0 none; more where it is exaggerated */
  readonly kept: number;
  /** energy of fine detail in the picture that is not the sprite's, over the sprite's own */
  readonly false: number;
}

export interface Detail {
  /** in the detector's order; things whose sprite does not fit are left out */
  readonly things: readonly ThingDetail[];
  /**
   * share of the picture outside the things asked for that is not the background; null where one that was asked for is
   * not fitted: what is there may be that thing
   */
  readonly ghosts: number | null;
}

/** shares and ratios of fine detail, and the share of the picture that is ghosts */
export const DETAIL_FIGURES = ['kept', 'false', 'ghosts'] as const;
export type DetailFigure = (typeof DETAIL_FIGURES)[number];

/** Of each name, the mean over its things. */
function byName(detail: Detail, figure: 'kept' | 'false'): Map<string, number> {
  const groups = Map.groupBy(detail.things, ({ name }) => name);
  return new Map(
    [...groups].map(([name, things]) => [name, things.reduce((sum, thing) => sum + thing[figure], 0) / things.length]),
  );
}

/** The figure of one picture: of detail, the mean over its names, null where no sprite fits; ghosts as they are. */
export function figureOf(detail: Detail, figure: DetailFigure): number | null {
  if (figure === 'ghosts') return detail.ghosts;
  const values = [...byName(detail, figure).values()];
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;
}

/**
 * The figure of one picture less `factor` times that of another of the same prompt: of detail, the mean over the names
 * that were fitted in both, null where there is none; of ghosts, null where either has none. So a thing that only one
 * of them shows counts for neither. Law: with factor 1 it changes its sign when the pictures change places.
 */
export function figureDifference(mine: Detail, other: Detail, figure: DetailFigure, factor = 1): number | null {
  if (figure === 'ghosts')
    return mine.ghosts === null || other.ghosts === null ? null : mine.ghosts - factor * other.ghosts;
  const theirs = byName(other, figure);
  const differences = [...byName(mine, figure)].flatMap(([name, value]) => {
    const their = theirs.get(name);
    return their === undefined ? [] : [value - factor * their];
  });
  return differences.length === 0 ? null : differences.reduce((sum, value) => sum + value, 0) / differences.length;
}
