/**
 * A job whose stored row cannot be read: which of its columns are broken, and what is shown instead. One broken row
 * breaks one job, by name: it is listed as failed, frees its place and can be erased. Pure.
 */
import type { ImageFormat } from '../stage/contract.ts';
import { imageKey } from './image-key.ts';
import type { JobFailure, JobRecord, JobRequest, Plan } from './job.ts';

const FORMATS: readonly ImageFormat[] = ['png', 'webp', 'jpeg'];

/** What an unreadable request is shown as. */
const NO_REQUEST: JobRequest = {
  model: '',
  prompt: '',
  negativePrompt: '',
  guidance: null,
  width: 0,
  height: 0,
  seed: 0,
  schedule: { preset: null, steps: [], ends: [], ratios: [], shifts: null, z: null, zMax: null, cache: null },
  solver: 'euler',
  selection: 'none',
  upsampling: 'latent',
  reference: false,
  format: 'png',
  quality: 90,
  isOwnSchedule: false,
  allowEngineChange: true,
  previews: { count: 0, format: 'png' },
};

/** What an unreadable plan is shown as: one stage without a step. */
const NO_PLAN: Plan = {
  model: { id: '', channels: 0, token_pixels: 0, digest: '' },
  features: [],
  numerics: 2,
  rows: 1,
  cols: 1,
  stages: [
    {
      stage: 1,
      tokens: 0,
      decode: 'image',
      flops: 0,
      flopsWithoutAttention: 0,
      steps: 0,
      evaluations: 0,
      start: 0,
      end: 1,
      shift: 1,
      sigmas: [],
      renoise: null,
    },
  ],
  z: [],
  divergence: null,
  fitted: false,
  selected: [],
  warnings: [],
  price: null,
  flops: { denoise: 0, denoiseWithoutAttention: 0, decode: 0, text: 0, plain: 0, plainWithoutAttention: 0 },
};

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isList = (value: unknown): boolean => Array.isArray(value);
const isNumber = (value: unknown): boolean => typeof value === 'number' && Number.isFinite(value);
const isText = (value: unknown): boolean => typeof value === 'string';
const orNull =
  (isReadable: (value: unknown) => boolean) =>
  (value: unknown): boolean =>
    value === null || isReadable(value);
const isRequest = (value: unknown): boolean =>
  isObject(value) && isText(value.prompt) && isObject(value.schedule) && FORMATS.includes(value.format as ImageFormat);
const isPlan = (value: unknown): boolean =>
  isObject(value) && isObject(value.model) && isObject(value.flops) && isList(value.stages);
const ROOMS = ['stage', 'select', 'done', 'failed', 'cancelled'];
const isRoom = (value: unknown): boolean =>
  isObject(value) && ROOMS.includes(String(value.name)) && (value.name !== 'stage' || isNumber(value.stage));

/** Whether a value may stand in each field of a record. */
const IS_READABLE: Readonly<Record<keyof JobRecord, (value: unknown) => boolean>> = {
  id: isText,
  account: isText,
  regions: orNull(isList),
  request: isRequest,
  plan: isPlan,
  createdAt: isNumber,
  room: isRoom,
  roomSince: isNumber,
  roomTimes: isList,
  attempt: isNumber,
  tries: isNumber,
  notBefore: isNumber,
  busySince: orNull(isNumber),
  selections: orNull(isList),
  image: orNull(isObject),
  receipt: orNull(isObject),
  failure: orNull(isObject),
  finishedAt: orNull(isNumber),
  expiresAt: orNull(isNumber),
  deadlineAt: orNull(isNumber),
  webhook: orNull(isObject),
  confirmedAt: orNull(isNumber),
};

/** The fields of a stored record that cannot be read; `undefined` is a value that was no JSON. */
export const unreadableFields = (stored: Readonly<Record<keyof JobRecord, unknown>>): readonly (keyof JobRecord)[] =>
  (Object.keys(IS_READABLE) as (keyof JobRecord)[]).filter((field) => !IS_READABLE[field](stored[field]));

/** A stored job that cannot be read, with the parts at fault by the names of columns and tables. */
export class Unreadable extends Error {
  override name = 'Unreadable';
  readonly parts: readonly string[];
  constructor(parts: readonly string[]) {
    super(`cannot be read: ${parts.join(', ')}`);
    this.parts = parts;
  }
}

/** How an unreadable job ends. */
export const unreadableFailure = (parts: readonly string[], stage: number | null, attempts: number): JobFailure => ({
  reason: 'unreadable',
  message: `The job's stored state cannot be read (${parts.join(', ')}).`,
  stage,
  attempts,
});

/**
 * The failed record of a job at `now` whose `fields` cannot be read, named `parts` for people: what can be read stays,
 * but for what only an unbroken job has.
 */
export function brokenRecord(
  stored: Readonly<Record<keyof JobRecord, unknown>>,
  fields: readonly (keyof JobRecord)[],
  { parts, now, expiresAt }: { readonly parts: readonly string[]; readonly now: number; readonly expiresAt: number },
): JobRecord {
  const record = stored as unknown as JobRecord;
  const keep = <Field extends keyof JobRecord>(field: Field, otherwise: JobRecord[Field]): JobRecord[Field] =>
    fields.includes(field) ? otherwise : record[field];
  return {
    id: record.id,
    account: record.account,
    regions: keep('regions', ['']) ?? [''],
    request: keep('request', NO_REQUEST),
    plan: keep('plan', NO_PLAN),
    createdAt: keep('createdAt', now),
    room: { name: 'failed' },
    roomSince: now,
    roomTimes: [],
    attempt: keep('attempt', 0),
    tries: keep('tries', 0),
    notBefore: 0,
    busySince: null,
    selections: null,
    image: null,
    receipt: null,
    failure: unreadableFailure(parts, null, keep('tries', 0)),
    finishedAt: keep('finishedAt', null) ?? now,
    expiresAt: keep('expiresAt', null) ?? expiresAt,
    deadlineAt: keep('deadlineAt', null),
    webhook: null,
    confirmedAt: keep('confirmedAt', null),
  };
}

/** Keys under which a picture of the job may lie: which format it had may be what cannot be read. */
export const pictureKeys = ({
  id,
  request,
  failure,
}: Pick<JobRecord, 'id' | 'request' | 'failure'>): readonly string[] =>
  (failure?.reason === 'unreadable' ? FORMATS : [request.format]).map((format) => imageKey(id, format));
