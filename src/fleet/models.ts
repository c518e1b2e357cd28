/** Which models a fleet serves, from what its servers say of themselves. Pure. */
import type { Feature, ModelFacts, ModelList } from '../stage/contract.ts';
import type { Backend } from './backends.ts';

/** A backend with what it last said of itself. */
export interface KnownServer {
  readonly backend: Pick<Backend, 'id' | 'models'>;
  /** null: nothing it said is known */
  readonly list: ModelList | null;
  /** why it could not be asked just now; null where it could, or was not */
  readonly fault: string | null;
}

/** Whether the configuration lets a server be asked for a model. */
export const mayServe = ({ models }: KnownServer['backend'], id: string): boolean =>
  models.includes('*') || models.includes(id);

/** The models of all servers, first come first named: of two builds under one name the first server's is the one. */
export function modelsOf(servers: readonly KnownServer[]): readonly ModelFacts[] {
  const models = new Map<string, ModelFacts>();
  for (const { backend, list } of servers) {
    for (const { engine_class: _, deterministic: __, ...facts } of list?.models ?? []) {
      if (mayServe(backend, facts.id) && !models.has(facts.id)) models.set(facts.id, facts);
    }
  }
  return [...models.values()];
}

/** What a server says of this build of a model; null where it does not have it or may not be asked for it. */
export function servedBy({ backend, list }: KnownServer, { model, digest }: { model: string; digest: string }) {
  if (!mayServe(backend, model)) return null;
  return list?.models.find((facts) => facts.id === model && facts.digest === digest) ?? null;
}

/** Whether some server of this build of a model states a feature. */
export const isFeatureServed = (
  servers: readonly KnownServer[],
  { id: model, digest }: Pick<ModelFacts, 'id' | 'digest'>,
  feature: Feature,
): boolean =>
  servers.some(
    (server) => servedBy(server, { model, digest }) !== null && server.list?.contract.features.includes(feature),
  );

/** Whether a name is another one for a model than its own id. */
export const isAlias = (models: readonly ModelFacts[], name: string | undefined): boolean =>
  name !== undefined && models.every(({ id }) => id !== name) && resolveModel(models, name) !== null;

/** The model a caller names, by id or alias; the first one when none is named. */
export function resolveModel(models: readonly ModelFacts[], name: string | undefined): ModelFacts | null {
  if (name === undefined) return models[0] ?? null;
  return models.find(({ id }) => id === name) ?? models.find(({ aliases }) => aliases.includes(name)) ?? null;
}

/** The names that a caller may use, for an error: ids, then aliases with the model that they mean. */
export function namesOf(models: readonly ModelFacts[]): string {
  const ids = models.map(({ id }) => id).join(', ');
  const named = models
    .filter(({ aliases }) => aliases.length > 0)
    .map(({ id, aliases }) => `${aliases.join(', ')}, which mean ${id}`);
  return `one of ${[ids, ...named].join('; or ')}`;
}
