/**
 * A clip of how a picture came about: its scenes drawn on a canvas, one after the other, and recorded meanwhile.
 *
 * @import { Scene } from './scenes.js'
 */
import { element } from '../ground/element.js';
import { GONE } from './save.js';
import { lengthOf, sceneAt } from './scenes.js';

/** What a clip may be recorded as, the most widely played first. */
const FORMATS = [
  { extension: 'mp4', type: 'video/mp4;codecs=avc1.42E01F' },
  { extension: 'webm', type: 'video/webm;codecs=vp9' },
  { extension: 'webm', type: 'video/webm;codecs=vp8' },
  { extension: 'webm', type: 'video/webm' },
  { extension: 'mp4', type: 'video/mp4' },
];
const FRAMES_PER_SECOND = 30;
const BITS_PER_SECOND = 4_000_000;

/** The picture's longer side, and the heights of the lines above and below it, pixels. */
const SIDE = 720;
const ABOVE = 56;
const BELOW = 92;
const MARGIN = 20;
const COLOURS = { ground: '#131217', ink: '#edeaf2', soft: '#aaa5b6', accent: '#aaa2ff' };

/** A whole even number: video has nothing else. @param {number} value */
const even = (value) => 2 * Math.round(value / 2);

/** @param {string} source @returns {Promise<HTMLImageElement>} */
async function load(source) {
  const image = element('img', { src: source });
  await image.decode().catch(() => {
    throw new Error(GONE);
  });
  return image;
}

/** A text cut to a width. @param {CanvasRenderingContext2D} pen @param {string} text @param {number} width */
function fitted(pen, text, width) {
  if (pen.measureText(text).width <= width) return text;
  const characters = [...text.slice(0, 400)];
  while (characters.length > 0 && pen.measureText(`${characters.join('')}…`).width > width) characters.pop();
  return `${characters.join('').trimEnd()}…`;
}

/**
 * A painter of scenes: draws the one at `index` with a share of opacity.
 *
 * @param {CanvasRenderingContext2D} pen
 * @param {{ scenes: readonly Scene[], images: ReadonlyMap<string, HTMLImageElement>, prompt: string }} clip
 */
function makePainter(pen, { scenes, images, prompt }) {
  const { width, height } = pen.canvas;
  const room = { width, height: height - ABOVE - BELOW };

  /** @param {string} text @param {{ x?: number, y: number, colour: string, font: string, most?: number }} look */
  const write = (text, { x = MARGIN, y, colour, font, most = width - 2 * MARGIN }) => {
    pen.font = `${font} system-ui, sans-serif`;
    pen.fillStyle = colour;
    pen.fillText(fitted(pen, text, most), x, y);
  };

  /** @param {Scene['pictures'][number]} picture @param {number} place @param {number} count */
  const drawPicture = ({ layers, name }, place, count) => {
    const box = { width: room.width / count, height: room.height / count };
    const left = place * box.width;
    const top = ABOVE + (room.height - box.height) / 2;
    for (const { source, isCoarse, isDim = false } of layers) {
      const image = images.get(source);
      if (!image) continue;
      pen.imageSmoothingEnabled = !isCoarse;
      pen.drawImage(image, left, top, box.width, box.height);
      pen.fillStyle = '#000a';
      if (isDim) pen.fillRect(left, top, box.width, box.height);
    }
    const under = { y: top + box.height + 24, colour: COLOURS.ink, font: '600 18px', most: box.width - MARGIN };
    if (name !== '') write(name, { x: left + MARGIN / 2, ...under });
  };

  return (/** @type {number} */ index, /** @type {number} */ share) => {
    const scene = scenes[index];
    if (!scene) return;
    pen.globalAlpha = share;
    pen.fillStyle = COLOURS.ground;
    pen.fillRect(0, 0, width, height);
    scene.pictures.forEach((picture, place) => {
      drawPicture(picture, place, scene.pictures.length);
    });
    write(prompt, { y: 36, colour: COLOURS.ink, font: '600 22px' });
    write(scene.title, { y: height - BELOW + 36, colour: COLOURS.ink, font: '600 22px' });
    write(scene.words, { y: height - BELOW + 66, colour: COLOURS.soft, font: '18px' });
    pen.globalAlpha = 1;
  };
}

/**
 * Records the scenes as they are seen, so it takes as long as the clip is. Null where `signal` ended it. Rejects with a
 * sentence for people where a picture is gone, or where the browser cannot record it.
 *
 * @param {readonly Scene[]} scenes
 * @param {{ prompt: string, size: { width: number, height: number }, onProgress: (share: number) => void, signal:
 *   AbortSignal }} options
 * @returns {Promise<{ file: Blob, extension: string } | null>}
 */
export async function recordClip(scenes, { prompt, size, onProgress, signal }) {
  const format = FORMATS.find(({ type }) => MediaRecorder.isTypeSupported(type));
  if (!format) throw new Error('This browser cannot record a clip.');
  const sources = [
    ...new Set(scenes.flatMap(({ pictures }) => pictures.flatMap(({ layers }) => layers.map(({ source }) => source)))),
  ];
  const images = new Map(
    await Promise.all(sources.map(async (source) => /** @type {const} */ ([source, await load(source)]))),
  );
  const scale = SIDE / Math.max(size.width, size.height);
  const canvas = element('canvas', {
    width: Math.max(SIDE, even(size.width * scale)),
    height: even(size.height * scale) + ABOVE + BELOW,
  });
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
  const paint = makePainter(pen, { scenes, images, prompt });
  paint(0, 1);

  const stream = canvas.captureStream(FRAMES_PER_SECOND);
  const recorder = new MediaRecorder(stream, { mimeType: format.type, videoBitsPerSecond: BITS_PER_SECOND });
  /** @type {Blob[]} */
  const parts = [];
  recorder.ondataavailable = ({ data }) => parts.push(data);
  const recorded = new Promise((resolve, reject) => {
    recorder.onstop = resolve;
    recorder.onerror = () => reject(new Error('The browser could not record the clip.'));
  });
  recorder.start();
  const whole = lengthOf(scenes);
  const began = performance.now();
  for (let now = 0; now < whole && !signal.aborted && recorder.state === 'recording'; now = performance.now() - began) {
    const { index, share } = sceneAt(scenes, now);
    if (share < 1) paint(index - 1, 1);
    paint(index, share);
    pen.fillStyle = COLOURS.accent;
    pen.fillRect(0, canvas.height - 4, (canvas.width * now) / whole, 4);
    onProgress(now / whole);
    await new Promise((resolve) => setTimeout(resolve, 1000 / FRAMES_PER_SECOND));
  }
  if (recorder.state !== 'inactive') recorder.stop();
  await recorded;
  for (const track of stream.getTracks()) track.stop();
  return signal.aborted ? null : { file: new Blob(parts, { type: format.type }), extension: format.extension };
}
