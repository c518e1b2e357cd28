/** What to say at addresses that other services have and this one does not. Pure. */
import { cutText } from '../job/cut-text.ts';

/** Where OpenAI's clients are to be pointed. */
const BASE = '/v1';
const IMAGES = `POST ${BASE}/images/generations draws a picture from a prompt`;

const OTHERS = `This service draws pictures and does nothing else: ${IMAGES}.`;

/** First words of addresses of OpenAI's API below its base that are not here, and what is. */
export const NOT_HERE: Readonly<Record<string, string>> = {
  chat: `There is no chat here, and no image tool of one: ${IMAGES}.`,
  completions: `There is no chat here, and no image tool of one: ${IMAGES}.`,
  responses: `There are no responses here, and no image tool of one: ${IMAGES}.`,
  'images/edits': `Pictures are drawn from text alone, not from other pictures: ${IMAGES}.`,
  'images/variations': `Pictures are drawn from text alone, not from other pictures: ${IMAGES}.`,
  assistants: OTHERS,
  audio: OTHERS,
  batches: OTHERS,
  containers: OTHERS,
  conversations: OTHERS,
  embeddings: OTHERS,
  evals: OTHERS,
  files: OTHERS,
  fine_tuning: OTHERS,
  moderations: OTHERS,
  realtime: OTHERS,
  threads: OTHERS,
  uploads: OTHERS,
  vector_stores: OTHERS,
  videos: OTHERS,
};

/** What is said of an address below the base; undefined where OpenAI has none such. */
function notHere(below: string): string | undefined {
  const [first = '', second = ''] = below.slice(1).split('/');
  return [`${first}/${second}`, first].flatMap((name) => (Object.hasOwn(NOT_HERE, name) ? [NOT_HERE[name]] : []))[0];
}

/** Whether OpenAI's clients ask for it below their base. */
const isBelowBase = (path: string): boolean =>
  notHere(path) !== undefined || path === '/images/generations' || /^\/models(?:\/[^/]+)?$/.test(path);

/** `/v1` and what stands in its place in Azure's addresses. */
const BASES = /^\/(?:v1|openai\/v1|openai\/deployments\/[^/]+|openai)(?=\/|$)/;

/** Where Hugging Face's inference has its models. */
const HUGGING_FACE = /^\/(?:hf-inference\/)?models\/[^/]+\/[^/]+$/;

/** Whose clients ask at an address that is not here, and what they hear. */
export interface Elsewhere {
  readonly speaks: 'openai' | 'hugging_face' | 'fastapi';
  readonly detail: string;
}

/** What AUTOMATIC1111 does with pictures that it is given. */
const FROM_PICTURES = /^\/sdapi\/v1\/(?:img2img|extra-(?:single-image|batch-images)|interrogate|png-info)$/;

/** What to say at an address that nobody has; null where nothing is known of it. */
export function elsewhere(path: string): Elsewhere | null {
  if (HUGGING_FACE.test(path))
    return {
      speaks: 'hugging_face',
      detail: `This service has OpenAI’s form, not that of Hugging Face’s inference: ${IMAGES}, not from "inputs".`,
    };
  if (FROM_PICTURES.test(path))
    return {
      speaks: 'fastapi',
      detail: 'Pictures are drawn from text alone, and none is taken: POST /sdapi/v1/txt2img draws one from a prompt.',
    };
  const [base] = BASES.exec(path) ?? [];
  if (base === undefined)
    return isBelowBase(path)
      ? {
          speaks: 'openai',
          detail: `There is nothing at ${shown(path)}: the base address of this service ends in ${BASE}.`,
        }
      : null;
  const below = path.slice(base.length);
  if (/^\/v1(?:\/|$)/.test(below))
    return {
      speaks: 'openai',
      detail: `There is nothing at ${shown(path)}: ${BASE} stands in it twice. Leave it out of the base address.`,
    };
  const why = notHere(below);
  return why === undefined ? null : { speaks: 'openai', detail: why };
}

const MAX_SHOWN = 80;
const shown = (path: string): string => cutText(path, MAX_SHOWN);
