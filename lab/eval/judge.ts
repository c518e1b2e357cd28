/**
 * Whether a picture shows what its prompt asks for, as GenEval decides it (arXiv 2310.11513), from what the detector
 * saw. Pure.
 *
 * Differs from GenEval: its `colour` task asks for an object and its colour, ours for the background's colour alone, so
 * that a missing object counts in the tasks about objects only; where more of a name are seen than were asked for, any
 * of them may have the colour or stand in the relation, and counting takes no higher threshold than the other tasks.
 */

/**
 * Every object is asked for at least once, exactly `count` times where that is given, and in `colour` where that is
 * given. `relation` is that of the first object to the second.
 */
export interface Expectation {
  readonly objects: readonly { readonly name: string; readonly count?: number; readonly colour?: string }[];
  readonly relation?: 'left' | 'above';
  /** one name: plain; two: top to bottom */
  readonly background?: readonly string[];
}

export interface SeenObject {
  /** null: something that is none of the detector's names */
  readonly name: string | null;
  /** chance of the likeliest name, 0 to 1 */
  readonly score: number;
  /** null: as it is, without a colour of its own, or unclear */
  readonly colour: string | null;
  /** centre and edge of its square, in shorter sides of the picture */
  readonly x: number;
  readonly y: number;
  readonly side: number;
}

export interface Seen {
  /** the surest first */
  readonly objects: readonly SeenObject[];
  /** one name: plain; two: top to bottom; `other` where no name holds */
  readonly background: readonly string[];
  /** [96], for the Fréchet distance */
  readonly features: Float32Array;
}

export interface Verdict {
  readonly correct: boolean;
  /** a sentence, also where it is correct */
  readonly reason: string;
}

/** GenEval's margin: how far centres must be apart, in the sum of both sides. */
const MARGIN = 0.1;
/** GenEval's least share of the whole offset that has to lie along the axis asked for. */
const ALONG = 0.5;

/**
 * The first thing that is wrong, or that nothing is: background, then presence and counts, then colours, then the
 * relation. Law: the order of `seen.objects` does not matter. Throws RangeError when a relation is asked for and there
 * are not two objects.
 */
export function judge(expect: Expectation, seen: Pick<Seen, 'objects' | 'background'>): Verdict {
  const { objects, relation, background } = expect;
  if (relation && objects.length !== 2)
    throw new RangeError(`relation ${relation} is asked of ${objects.length} objects, expected 2`);
  if (background && background.join() !== seen.background.join())
    return wrong(`the background is ${seen.background.join(' to ')}, not ${background.join(' to ')}`);
  for (const { name, count, colour } of objects) {
    const found = seen.objects.filter((each) => each.name === name);
    if (found.length === 0) return wrong(`no ${name}`);
    if (count !== undefined && found.length !== count) return wrong(`${found.length} of ${name}, not ${count}`);
    if (colour !== undefined && !found.some((each) => each.colour === colour))
      return wrong(
        `the ${name} is ${found.map((each) => each.colour ?? 'of no clear colour').join(' and ')}, not ${colour}`,
      );
  }
  if (relation) {
    const [first, second] = objects.map(({ name }) => seen.objects.filter((each) => each.name === name));
    if (!first!.some((a) => second!.some((b) => a !== b && holds(relation, a, b))))
      return wrong(
        `the ${objects[0]!.name} is not ${relation === 'left' ? 'left of' : 'above'} the ${objects[1]!.name}`,
      );
  }
  return { correct: true, reason: 'as asked' };
}

const wrong = (reason: string): Verdict => ({ correct: false, reason });

type Square = Pick<SeenObject, 'x' | 'y' | 'side'>;

/**
 * Whether `a` is left of or above `b`: the offset of their centres, less the margin along each axis, over the whole
 * offset's length has to be more than a half in that direction. Law: never of `a` to `b` and of `b` to `a`. Source:
 * GenEval, evaluate_images.py, `relative_position`.
 */
export function holds(relation: 'left' | 'above', a: Square, b: Square): boolean {
  const dx = b.x - a.x;
  const dy = b.y - a.y;
  const along = relation === 'left' ? dx : dy;
  return along - MARGIN * (a.side + b.side) > ALONG * Math.hypot(dx, dy);
}
