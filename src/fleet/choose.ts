/** Which stage server a stage goes to. Pure. */
import { type KnownServer, servedBy } from './models.ts';

/** What a stage needs of its server. */
export interface Needs {
  readonly model: string;
  readonly digest: string;
  /** features without which its numbers would differ */
  readonly features: readonly string[];
}

/** A server that can take the stage, with what it may be sent. */
export interface Candidate {
  readonly id: string;
  readonly engineClass: string | null;
  readonly features: readonly string[];
}

/** Why a server is none: nothing is known of it, it has other models or builds, lacks features, computes otherwise. */
export type Unfit =
  | { readonly notKnown: string }
  | 'other_models'
  | { readonly lacks: readonly string[] }
  | { readonly engineClass: string | null };

/** Where the job's last request went, and whether that led to no result. */
export interface LastAttempt {
  readonly backend: string;
  readonly hasFailed: boolean;
}

export interface Choice {
  /** best first; empty where there is nobody to ask now */
  readonly candidates: readonly Candidate[];
  readonly unfit: readonly { readonly id: string; readonly why: Unfit }[];
}

/**
 * The servers that can take a stage, best first, and why the others cannot.
 *
 * A job stays where it is as long as that works: its prompt is encoded there, and a request cut off on our side may
 * still run there. After a failed attempt the next server of the configuration comes first. Servers that could
 * not be asked just now come last. Laws: a server that lacks a
 * needed feature, has another build of the model, or does not state the engine class `engine` is never a candidate;
 * null for `engine` lets every class in, also one that is not stated.
 */
export function choose({
  servers,
  needs,
  engine,
  last,
}: {
  readonly servers: readonly KnownServer[];
  readonly needs: Needs;
  readonly engine: string | null;
  readonly last: LastAttempt | null;
}): Choice {
  const judged = inOrder(servers, last).map((server) => ({ id: server.backend.id, ...judge(server, needs, engine) }));
  return {
    candidates: judged.flatMap(({ id, fit }) => (fit ? [{ id, ...fit }] : [])),
    unfit: judged.flatMap(({ id, why }) => (why ? [{ id, why }] : [])),
  };
}

/** The servers with the one to begin with first: the last one used, or after a failure the one behind it. */
function inOrder(servers: readonly KnownServer[], last: LastAttempt | null): readonly KnownServer[] {
  const at = servers.findIndex(({ backend }) => backend.id === last?.backend);
  const first = at < 0 ? 0 : last?.hasFailed ? at + 1 : at;
  const ordered = [...servers.slice(first), ...servers.slice(0, first)];
  // where the job is, it stays; of the others those come last that could not be asked just now
  const stays = ({ backend }: KnownServer): boolean => backend.id === last?.backend && !last.hasFailed;
  const isWell = (server: KnownServer): boolean => server.fault === null || stays(server);
  return [...ordered.filter(isWell), ...ordered.filter((server) => !isWell(server))];
}

function judge(
  server: KnownServer,
  needs: Needs,
  engine: string | null,
): { readonly fit: Omit<Candidate, 'id'> | null; readonly why: Unfit | null } {
  const { list, fault } = server;
  if (!list) return { fit: null, why: { notKnown: fault ?? '' } };
  const facts = servedBy(server, needs);
  if (!facts) return { fit: null, why: 'other_models' };
  const { features } = list.contract;
  const lacks = needs.features.filter((feature) => !features.includes(feature));
  if (lacks.length > 0) return { fit: null, why: { lacks } };
  const { engine_class: engineClass } = facts;
  if (engine !== null && engineClass !== engine) return { fit: null, why: { engineClass } };
  return { fit: { engineClass, features }, why: null };
}
