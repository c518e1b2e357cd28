/** Which stages are alike to those who order them: a group is served by the same servers. Pure. */
import type { DeskPlace, DeskServer } from './desk-state.ts';
import { type Fit, fitOf, type Needs } from './fit.ts';
import type { OfGroup } from './line.ts';
import { type KnownServer, mayServe } from './models.ts';
import type { SlotRequest, StageShape } from './slots.ts';

/** The group of a stage. */
export const groupOf = ({ needs, engine }: StageShape): string =>
  JSON.stringify([needs.model, needs.digest, needs.features, engine]);

/** What the stages of a group need. */
export const shapeOf = (group: string): { readonly needs: Needs; readonly engine: string | null } => {
  const [model, digest, features, engine] = JSON.parse(group) as [string, string, string[], string | null];
  return { needs: { model, digest, features }, engine };
};

/** A server that can take a stage, with what it may be sent. */
export type Fitting = DeskServer & { readonly fit: Fit };

/** The servers that fit each group; it remembers. */
export type Fits = (group: string) => readonly Fitting[];

/** Finds the servers that fit, each group once. */
export function fitsOf(servers: readonly DeskServer[]): Fits {
  const known = new Map<string, readonly Fitting[]>();
  return (group) => {
    const before = known.get(group);
    if (before) return before;
    const { needs, engine } = shapeOf(group);
    const fits = servers.flatMap((server) => {
      const { fit } = fitOf(server, needs, engine);
      return fit ? [{ ...server, fit }] : [];
    });
    known.set(group, fits);
    return fits;
  };
}

/** The kind of a server: two of one kind serve the same groups. It remembers lists that servers gave. */
export function makeKinds(): (server: KnownServer) => string {
  const known = new WeakMap<object, Map<string, string>>();
  return ({ backend, list }) => {
    if (!list) return '';
    const may = backend.models.join(' ');
    const kinds = known.get(list) ?? new Map<string, string>();
    known.set(list, kinds);
    const before = kinds.get(may);
    if (before !== undefined) return before;
    const models = list.models
      .filter(({ id }) => mayServe(backend, id))
      .map(({ id, digest, engine_class }) => JSON.stringify([id, digest, engine_class]));
    const kind = JSON.stringify([list.contract.features.toSorted(), models.toSorted()]);
    kinds.set(may, kind);
    return kind;
  };
}

/** The kinds of some servers, each once. */
export const kindsOf = (
  servers: readonly KnownServer[],
  kindOf: (server: KnownServer) => string,
): readonly string[] => [...new Set(servers.map(kindOf))];

/** Which groups are served by a server that serves `group`, too. */
export function competing(group: string, fits: Fits): OfGroup {
  const own = new Set(fits(group).map(({ backend }) => backend.id));
  const known = new Map([[group, true]]);
  return (other) => {
    const before = known.get(other);
    if (before !== undefined) return before;
    const competes = fits(other).some(({ backend }) => own.has(backend.id));
    known.set(other, competes);
    return competes;
  };
}

/** The place in the line that a request asks for. */
export function placeOf(request: SlotRequest): DeskPlace {
  const { job, account, tflops, restTflops, hasBegun, since, last, movingTflops, tried } = request;
  const group = groupOf(request);
  const likeness = JSON.stringify([group, tflops, movingTflops, last, tried]);
  return { job, account, group, tflops, restTflops, hasBegun, since, likeness, request };
}
