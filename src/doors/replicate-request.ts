/** A request for one of Replicate's predictions in the words of a job. Pure. */

import { resolveModel } from '../fleet/models.ts';
import {
  chooseModel,
  type Draft,
  type DraftTools,
  draftRequest,
  type RequestInput,
  renamed,
} from '../job/plan-request.ts';
import { type Planned, refuse } from '../job/schedule-request.ts';
import type { ModelFacts } from '../stage/contract.ts';

const MAX_WAIT_SECONDS = 60;
const MAX_DEADLINE_SECONDS = 86_400;

/** What names the model: a field of the body, or the path. */
export interface ModelName {
  readonly field: 'version' | 'model';
  /** id, alias or digest; `owner/name`; `owner/name:digest`; undefined means the first model */
  readonly name: string | undefined;
}

/** The model that a version or an `owner/name` means. Refuses `field`. */
export function modelNamed(models: readonly ModelFacts[], { field, name }: ModelName): Planned<ModelFacts> {
  if (name === undefined) return chooseModel(models, name);
  const [path = '', digest] = name.split(':');
  const byDigest = models.find((facts) => facts.digest === (digest ?? path));
  if (byDigest) return { ok: true, value: byDigest };
  const known = (what: 'id' | 'digest') => models.map((facts) => facts[what]).join(', ');
  if (digest !== undefined) return refuse(field, name, `must end in the digest of a model: ${known('digest')}`);
  const byName = resolveModel(models, path.split('/').at(-1) as string);
  return byName ? { ok: true, value: byName } : refuse(field, name, `must be one of ${known('id')}`);
}

/** The draft of a prediction, one job. Refuses fields by their names in the body. */
export function draftPrediction(
  input: RequestInput,
  model: ModelName,
  models: readonly ModelFacts[],
  tools: DraftTools,
): Planned<Draft> {
  const chosen = modelNamed(models, model);
  return chosen.ok ? renamed(draftRequest(input, chosen.value, tools), nameHere) : chosen;
}

/** `width, height` → `input.width, input.height`. */
const nameHere = (field: string): string =>
  field
    .split(', ')
    .map((name) => `input.${name}`)
    .join(', ');

/** Seconds of `Prefer: wait` or `wait=n`, at most 60; 0 where it is not asked for. */
export function waitSeconds(prefer: string | undefined): number {
  const found = /(?:^|[,;\s])wait(?:=(\d{1,4}))?(?:$|[,;\s])/.exec(prefer ?? '');
  return found ? Math.min(MAX_WAIT_SECONDS, Number(found[1] ?? MAX_WAIT_SECONDS)) : 0;
}

/** Seconds of `Cancel-After`: `90`, `90s`, `5m`, `1h30m`; null without one. Refuses `cancel-after`. */
export function deadlineSeconds(header: string | undefined): Planned<number | null> {
  if (header === undefined) return { ok: true, value: null };
  const [, hours, minutes, seconds] = /^(?:(\d{1,2})h)?(?:(\d{1,4})m)?(?:(\d{1,5})s?)?$/.exec(header) ?? [];
  const total = Number(hours ?? 0) * 3600 + Number(minutes ?? 0) * 60 + Number(seconds ?? 0);
  if (!(total >= 1 && total <= MAX_DEADLINE_SECONDS))
    return refuse('cancel-after', header, 'must be a time from 1s to 24h, as in 90s, 5m or 1h30m');
  return { ok: true, value: total };
}
