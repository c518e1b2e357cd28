/** What files of pictures are called. Pure. */

/** Longest part of a prompt in a file name, characters. */
const MAX_WORDS = 40;

/**
 * The name a picture is saved by: `a-red-apple-7.png`.
 *
 * @param {{ prompt: string, seed: number, format: string }} picture
 */
export function fileName({ prompt, seed, format }) {
  const words = prompt
    .normalize('NFKD')
    .toLowerCase()
    .replace(/\p{M}/gu, '')
    .replace(/[^\p{L}\p{N}]+/gu, '-')
    .slice(0, MAX_WORDS)
    .replace(/^-+|-+$/g, '');
  return `${words || 'picture'}-${seed}.${format}`;
}
