/** A shared picture as a page: what it was made from and how, without scripts. Pure. */
import { html } from 'hono/html';
import { cutText } from '../../job/cut-text.ts';
import type { SharedJob } from '../../job/share.ts';

type Html = ReturnType<typeof html>;

/** Where things are that a page of a share names. */
export interface ShareAddresses {
  /** path below which the service is; empty: it has the whole host */
  readonly prefix: string;
  /** of the share's page, with scheme and host */
  readonly page: string;
}

/** Longest text that other programs show as a title, characters. */
const MAX_TITLE = 100;

const milliseconds = (ms: number): string => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);
const threeDigits = (value: number): string => String(Number(value.toPrecision(3)));
const counted = (count: number, one: string): string => `${count} ${one}${count === 1 ? '' : 's'}`;

/** How much less work it was, where it was: `7.8× less work than the plain model`. */
const saving = ({ ratio }: SharedJob['work']): string | null =>
  ratio !== null && ratio >= 1.05 ? `${ratio.toFixed(1)}× less work than the plain model` : null;

const denoisingMs = ({ stages }: SharedJob): number => stages.reduce((sum, { ms }) => sum + ms, 0);

/** What it took, in a sentence. */
function describe(job: SharedJob): string {
  const { stages, work } = job;
  const steps = stages.reduce((sum, stage) => sum + stage.steps, 0);
  const less = saving(work);
  const how = `${counted(stages.length, 'stage')}, ${counted(steps, 'step')}`;
  const cost = `${threeDigits(work.tflops)} TFLOPs${less === null ? '' : `, ${less}`} (calculated)`;
  return `Made in ${how}: ${milliseconds(denoisingMs(job))} of denoising (measured), ${cost}.`;
}

/** A page of these parts, in the look of the playground. */
function frame({ prefix, head, main }: { readonly prefix: string; readonly head: Html; readonly main: Html }): string {
  const page = html`<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <meta name="robots" content="noindex">
    ${head}
    <link rel="icon" href="${prefix}/icon.svg" type="image/svg+xml">
    <link rel="stylesheet" href="${prefix}/style/ground.css">
    <link rel="stylesheet" href="${prefix}/style/shared.css">
  </head>
  <body>
    <header class="top">
      <a class="home" href="${prefix}/"><img src="${prefix}/icon.svg" alt="" width="28" height="28"> RALU</a>
      <p>Pictures from words. You see every step.</p>
    </header>
    ${main}
  </body>
</html>
`;
  return String(page);
}

/** What programs show that unfurl a link: the picture with its prompt and what it took. */
function cards(job: SharedJob, { page }: ShareAddresses): Html {
  const { prompt, image } = job;
  const title = cutText(prompt, MAX_TITLE) || 'A picture';
  const picture = `${page}/image.${image.format}`;
  const words = describe(job);
  return html`<title>${title} – RALU</title>
    <meta name="description" content="${words}">
    <meta property="og:type" content="website">
    <meta property="og:site_name" content="RALU">
    <meta property="og:url" content="${page}">
    <meta property="og:title" content="${title}">
    <meta property="og:description" content="${words}">
    <meta property="og:image" content="${picture}">
    <meta property="og:image:type" content="image/${image.format}">
    <meta property="og:image:width" content="${image.width}">
    <meta property="og:image:height" content="${image.height}">
    <meta property="og:image:alt" content="${title}">
    <meta name="twitter:card" content="summary_large_image">
    <meta name="twitter:title" content="${title}">
    <meta name="twitter:description" content="${words}">
    <meta name="twitter:image" content="${picture}">`;
}

const fact = (name: string, value: string, how = ''): Html =>
  html`<div><dt>${name}</dt><dd>${value}${how === '' ? '' : html` <small>${how}</small>`}</dd></div>`;

/** One picture of the row, with what it took. */
const step = (pictures: Html, title: string, ...lines: readonly string[]): Html =>
  html`<li><figure><div class="frame">${pictures}</div><figcaption><strong>${title}</strong>${lines.map((line) => html`<span>${line}</span>`)}</figcaption></figure></li>`;

function stageName(stage: number, count: number): string {
  if (stage === count) return 'Full resolution';
  return stage === 1 ? 'Low resolution' : 'Mixed resolution';
}

/** The stages in a row, with the selection between the first and the second. */
function story({ stages, selection, image }: SharedJob, path: string): Html {
  const { width, height } = image;
  const picture = (name: string, words: string, look = ''): Html =>
    html`<img class="${look}" src="${path}/${name}" alt="${words}" width="${width}" height="${height}" loading="lazy">`;
  const steps = stages.flatMap(({ stage, tokens, steps, ms, hasPicture }) => {
    const name = stageName(stage, stages.length);
    const isLast = stage === stages.length;
    const source = isLast ? `image.${image.format}` : `stages/${stage}`;
    const look = stage === 1 && !isLast ? 'coarse' : '';
    const shown = hasPicture
      ? picture(source, isLast ? 'The finished picture' : `The picture after stage ${stage}`, look)
      : html`<p>not kept</p>`;
    const own = step(
      shown,
      `${stage} · ${name}`,
      `${counted(tokens, 'token')} · ${counted(steps, 'step')}`,
      milliseconds(ms),
    );
    if (stage !== 1 || !selection) return [own];
    const layers = html`${picture('stages/1', '', 'coarse dim')}${picture('stages/blocks', '', 'coarse')}${picture('stages/edges', 'Its edges, and the blocks that have most of them', 'coarse')}`;
    return [own, step(layers, 'Edges and blocks', `${selection.chosen} of ${counted(selection.of, 'block')} go first`)];
  });
  return html`<ol class="story">${steps}</ol>`;
}

/** The page of a share. */
export function sharedPage(job: SharedJob, addresses: ShareAddresses): string {
  const { prompt, model, seed, preset, image, stages, selection, work } = job;
  const { prefix, page } = addresses;
  const path = new URL(page).pathname;
  const less = saving(work);
  const main = html`<main class="shared">
      <article class="card">
        <img class="picture" src="${path}/image.${image.format}" alt="Picture of “${prompt}”" width="${image.width}" height="${image.height}">
        <div class="about">
          <h1 dir="auto" class="${prompt.length > MAX_TITLE ? 'long' : ''}">${prompt || 'A picture'}</h1>
          <dl>
            ${fact('Work', less ?? `${threeDigits(work.tflops)} TFLOPs`, less === null ? 'calculated' : `${threeDigits(work.tflops)} TFLOPs, calculated`)}
            ${fact('Denoising', milliseconds(denoisingMs(job)), 'measured')}
            ${fact('Preset', preset ?? 'a schedule of its own')}
            ${fact('Seed', String(seed))}
            ${fact('Size', `${image.width} × ${image.height}`)}
            ${fact('Model', model)}
          </dl>
          <p><a class="make" href="${prefix}/">Make your own</a></p>
        </div>
      </article>
      <section class="card" aria-labelledby="story">
        <h2 id="story">How it was made</h2>
        ${stages.length > 1 ? html`<p class="note">${selection ? 'Small first, then the blocks with edges at full resolution, then the rest.' : 'Small first, then at full resolution.'}</p>` : ''}
        ${story(job, path)}
      </section>
    </main>`;
  return frame({ prefix, head: cards(job, addresses), main });
}

/** What is shown in place of a shared picture, and why in a sentence. */
export const troublePage = (prefix: string, title: string, sentence: string): string =>
  frame({
    prefix,
    head: html`<title>${title} – RALU</title>`,
    main: html`<main class="shared"><section class="card"><h1>${title}</h1><p>${sentence}</p><p><a class="make" href="${prefix}/">Make your own</a></p></section></main>`,
  });
