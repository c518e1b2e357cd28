/** Answers given outside the routes, in the shape of the door that was knocked at. */
import type { OpenAPIHono } from '@hono/zod-openapi';
import type { Context } from 'hono';
import type { Elsewhere } from '../doors/elsewhere.ts';
import type { AppEnv } from './env.ts';
import { speakFal } from './fal/speak.ts';
import { speakHuggingFace, speakOpenAI } from './openai/speak.ts';
import type { Problem } from './problem.ts';
import { speakReplicate } from './replicate/speak.ts';
import { speakFastAPI } from './speak-fastapi.ts';

export type Speaker = typeof speakOpenAI;
const SPEAKERS: readonly Speaker[] = [speakOpenAI, speakFal, speakReplicate, speakFastAPI];

/** Whose shape the routes of an address have for these methods; undefined: our own. */
export function speakerOf(app: OpenAPIHono<AppEnv>, methods: readonly string[], path: string): Speaker | undefined {
  const handlers = methods.flatMap((method) => app.router.match(method, path)[0].map(([[handler]]) => handler));
  return SPEAKERS.find((speaker) => handlers.includes(speaker));
}

/** Addresses below `/v1` that Replicate's clients alone ask for. */
const REPLICATE = /^\/v1\/(?:predictions|deployments|trainings|hardware|collections|models\/[^/]+\/[^/]+)(?:\/|$)/;

const KNOWN: Readonly<Record<Elsewhere['speaks'], Speaker>> = {
  openai: speakOpenAI,
  hugging_face: speakHuggingFace,
  fastapi: speakFastAPI,
};

/** Whose clients come to an address that nobody has; `known` is what is said there. */
export function speakerAt(path: string, known: Elsewhere | null = null): Speaker | undefined {
  if (known) return KNOWN[known.speaks];
  if (REPLICATE.test(path)) return speakReplicate;
  if (/^\/(?:v1|openai)(?:\/|$)/.test(path)) return speakOpenAI;
  if (/^\/fal(?:\/|$)/.test(path)) return speakFal;
  if (/^\/(?:sdapi|bfl)(?:\/|$)/.test(path)) return speakFastAPI;
  return undefined;
}

/** The problem as a speaker has it; in our own shape without one. */
export async function say(c: Context<AppEnv>, problem: Problem, speaker: Speaker | undefined): Promise<Response> {
  c.set('render', undefined);
  await speaker?.(c, async () => undefined);
  return c.get('render')?.(problem) ?? problem.toResponse();
}
