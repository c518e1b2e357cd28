/** Whether a stage server can take a stage at all. Pure. */
import { type KnownServer, servedBy } from './models.ts';

/** What a stage needs of its server. */
export interface Needs {
  readonly model: string;
  readonly digest: string;
  /** features without which its numbers would differ */
  readonly features: readonly string[];
}

/** What a server that can take the stage may be sent. */
export interface Fit {
  /** what it states; null: none */
  readonly engineClass: string | null;
  readonly features: readonly string[];
}

/** Why a server is none: nothing is known of it, it has other models or builds, lacks features, computes otherwise. */
export type Unfit =
  | { readonly notKnown: string }
  | 'other_models'
  | { readonly lacks: readonly string[] }
  | { readonly engineClass: string | null };

/**
 * What a server may be sent of a stage, or why it cannot take it. Laws: a server that lacks a needed feature, has
 * another build of the model, or does not state the engine class `engine` never fits; null for `engine` lets every
 * class in, also one that is not stated.
 */
export function fitOf(
  server: KnownServer,
  needs: Needs,
  engine: string | null,
): { readonly fit: Fit; readonly why: null } | { readonly fit: null; readonly why: Unfit } {
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
