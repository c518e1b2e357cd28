/** The two sets of prompts: settings are chosen on A, claims are confirmed on B. */

export const SETS = ['A', 'B'] as const;
export type PromptSet = (typeof SETS)[number];

/** File of a set's prompts, beside this one. */
export const promptsOf: Readonly<Record<PromptSet, string>> = { A: 'prompts.json', B: 'prompts-b.json' };

/** File of what is written by hand about a set's results, beside this one. */
export const sentencesOf: Readonly<Record<PromptSet, string>> = { A: 'sentences.json', B: 'sentences-b.json' };

/** Name of a set's document without its ending, and of the folder of its pictures. */
export const documentOf: Readonly<Record<PromptSet, string>> = { A: 'evaluation', B: 'evaluation-b' };
