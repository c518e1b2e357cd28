/** What the detector's own facts say of it, as the document says it. Pure. */

/** Shares of one set of held-out scenes. */
export interface Accuracy {
  readonly scenes: number;
  readonly things: number;
  /** found with the right name at the right place, of all things */
  readonly objects: number;
  /** of those, with the right colour; and of those that were recoloured */
  readonly colours: number;
  readonly recoloured: number;
  /** pictures in which every name is seen as often as it is there and no other is */
  readonly counts: number;
  readonly backgrounds: number;
  /** named things a picture that are not there */
  readonly spurious: number;
}

/** The part of facts.json that measures the detector. */
export interface DetectorFacts {
  readonly accuracy: Readonly<Record<string, Accuracy | string | number>>;
  /** share of pictures of nothing it knows in which it sees something it knows, by kind */
  readonly falseAccepts: Readonly<Record<string, number>>;
  readonly reference: Readonly<Record<string, number | Readonly<Record<string, number>>>>;
}

/** What each set is, where its name does not say it. */
const SETS: Readonly<Record<string, string>> = {
  fluent: 'Fluent, the style the generator learns',
  noto: 'Noto, a style the generator never sees',
  'fluent, soft': 'Fluent, blurred and noisy',
  'noto, soft': 'Noto, blurred and noisy',
};

/** asked of a detector that may judge: share of objects, and of colours */
const OBJECTS = 0.97;
const COLOURS = 0.99;

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

/** Accuracy by set as a table, whether it is enough to judge by, and what the Fréchet distance of real pictures is. */
export function describeDetector({ accuracy, falseAccepts, reference }: DetectorFacts): string {
  const sets = Object.entries(accuracy).flatMap(([name, value]) =>
    typeof value === 'object' ? [[name, value] as const] : [],
  );
  const rows = sets.map(([name, set]) =>
    [
      SETS[name] ?? name,
      String(set.scenes),
      ...[set.objects, set.colours, set.recoloured, set.counts, set.backgrounds].map(percent),
      set.spurious.toFixed(3),
    ].join(' | '),
  );
  const sharp = sets.filter(([name]) => !name.includes('soft'));
  const isEnough =
    sharp.length > 0 && sharp.every(([, { objects, colours }]) => objects >= OBJECTS && colours >= COLOURS);
  const { pictures = 0, any = 0, ...kinds } = falseAccepts;
  const distances = Object.entries(reference).find(([, value]) => typeof value === 'object');
  return [
    'It is trained apart from the generator, on two styles of drawing. What it is measured on here are fresh scenes that mix combinations kept out of both trainings; of the crops it learns names from, a neighbour that looks in may have made one.',
    [
      '| held-out scenes | scenes | objects | colours | of recoloured | counts | backgrounds | named but not there, a picture |',
      '| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |',
      ...rows.map((row) => `| ${row} |`),
    ].join('\n'),
    'Objects: share of all things found with the right name at the right place. Colours: of those. Counts: pictures in which every name is seen as often as it is there, and no other.',
    `Asked of it: ${percent(OBJECTS)} of objects and ${percent(COLOURS)} of colours in both styles: ${isEnough ? 'reached' : '**not reached**, so scores near each other must be read with that in mind'}.`,
    `Of ${pictures} pictures of things it does not know it names something in ${percent(any)} (${Object.entries(kinds)
      .map(([kind, share]) => `${kind} ${percent(share)}`)
      .join(', ')}).`,
    ...(distances
      ? [
          `For scale, Fréchet ${distances[0]}: ${Object.entries(distances[1] as Record<string, number>)
            .map(([set, value]) => `${set} ${value}`)
            .join(', ')}.`,
        ]
      : []),
  ].join('\n\n');
}
