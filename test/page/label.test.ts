/** What a picture says of itself, as the page reads it: of files that the service writes, and of broken ones. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isPicture, readLabel } from '../../playground/keep/label.js';
import { againOf, labelled } from '../../src/job/label.ts';
import { draftRequest, type RequestInput } from '../../src/job/plan-request.ts';
import { exifBlock } from '../../src/picture/exif.ts';
import { withExifSegment } from '../../src/picture/jpeg.ts';
import { withTexts } from '../../src/picture/png.ts';
import { textsOf } from '../../src/picture/texts.ts';
import { withExifChunk } from '../../src/picture/webp.ts';
import { FLUX, value } from '../job/requests.ts';
import { pictureIn } from './pictures.ts';

const FORMATS = ['png', 'webp', 'jpeg'] as const;
const tools = { allowEngineChange: false, tariff: null, draw: () => 41, mayEnlarge: true, metadata: true };

const jobOf = (input: Partial<RequestInput>) =>
  value(draftRequest({ prompt: 'a red apple', ...input }, FLUX, tools)).plan(new Map())[0]!;

const REQUESTS: readonly Partial<RequestInput>[] = [
  {},
  { prompt: 'ein Apfel, größer als 🍎\n"two" lines', preset: '4x', seed: 4_294_967_295 },
  { N: [2, 3], e: [0.3, 1], guidance: 5, solver: 'ab2' },
  { prompt: 'x'.repeat(20_000) },
];

describe.each(FORMATS)('a picture in %s', (format) => {
  test.each(REQUESTS)('says what it was made from: %o', (input) => {
    const { request, plan } = jobOf({ ...input, output_format: format });
    const file = labelled(pictureIn(format), request, plan);
    expect(readLabel(file)).toEqual(JSON.parse(JSON.stringify(againOf(request, plan).request)));
    // the service reads its files with code of its own, since the page is served as it is
    expect(JSON.parse(textsOf(file)?.get('ralu') ?? '').request).toEqual(readLabel(file));
  });

  test('says nothing where it has no settings, or those of another program', () => {
    expect(readLabel(pictureIn(format))).toBeNull();
    expect(isPicture(pictureIn(format))).toBe(true);
    const photo = exifBlock({ comment: 'a red apple', note: 'a camera’s own' });
    const others = {
      png: withTexts(pictureIn('png'), [{ keyword: 'parameters', text: 'a red apple\nSteps: 20' }]),
      webp: withExifChunk(pictureIn('webp'), photo),
      jpeg: withExifSegment(pictureIn('jpeg'), photo),
    };
    expect(others[format].length).toBeGreaterThan(pictureIn(format).length);
    expect(readLabel(others[format])).toBeNull();
  });

  test('is read wherever it is cut off, and whatever bytes are wrong', () => {
    const { request, plan } = jobOf({ output_format: format });
    const file = labelled(pictureIn(format), request, plan);
    const wrong = fc.array(fc.tuple(fc.nat(file.length - 1), fc.nat(255)), { maxLength: 8 });
    const broken = fc.tuple(fc.nat(file.length), wrong).map(([length, changes]) => {
      const copy = file.slice(0, length);
      for (const [at, byte] of changes) if (at < length) copy[at] = byte;
      return copy;
    });
    fc.assert(
      fc.property(broken, (bytes) => {
        const told = readLabel(bytes);
        expect(told === null || typeof told.prompt === 'string').toBe(true);
      }),
      { seed: 22, numRuns: 400 },
    );
  });
});

test('a block of EXIF is read with its low bytes first too, as other programs write it anew', () => {
  const note = JSON.stringify({
    ralu: 1,
    model_digest: 'x',
    request: { model: 'm', prompt: 'a fox', width: 256, height: 128, seed: 3 },
  });
  const bytes = new Uint8Array(44 + note.length);
  const view = new DataView(bytes.buffer);
  bytes.set(new TextEncoder().encode('II*\0'));
  // the place of the first directory, and in it the place of the second
  view.setUint32(4, 8, true);
  view.setUint16(8, 1, true);
  for (const [at, tag, length, place] of [
    [10, 0x8769, 1, 26],
    [28, 0x927c, note.length, 44],
  ] as const) {
    view.setUint16(at, tag, true);
    view.setUint32(at + 4, length, true);
    view.setUint32(at + 8, place, true);
  }
  view.setUint16(26, 1, true);
  bytes.set(new TextEncoder().encode(note), 44);
  const segment = [...new TextEncoder().encode('Exif\0\0'), ...bytes];
  const length = segment.length + 2;
  const jpeg = Uint8Array.of(0xff, 0xd8, 0xff, 0xe1, length >> 8, length & 0xff, ...segment);
  expect(readLabel(jpeg)?.prompt).toBe('a fox');
});

test.each([
  ['no object', '7'],
  ['another version', '{"ralu":2,"request":{"model":"m","prompt":"a","width":1,"height":1,"seed":1}}'],
  ['no prompt', '{"ralu":1,"request":{"model":"m","width":1,"height":1,"seed":1}}'],
  ['a size that is no number', '{"ralu":1,"request":{"model":"m","prompt":"a","width":"1","height":1,"seed":1}}'],
  ['a seed below 0', '{"ralu":1,"request":{"model":"m","prompt":"a","width":1,"height":1,"seed":-1}}'],
  ['r that is no list', '{"ralu":1,"request":{"model":"m","prompt":"a","width":1,"height":1,"seed":1,"r":0.1}}'],
  ['no JSON', '{"ralu":1'],
])('a text with %s is no request', (_, text) => {
  const chunk = [0, 0, 0, text.length + 5, ...new TextEncoder().encode(`tEXtralu\0${text}`), 0, 0, 0, 0];
  const png = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, ...chunk);
  expect(readLabel(png)).toBeNull();
});

test('other files are no pictures', () => {
  for (const text of ['', 'GIF89a', '<svg xmlns="http://www.w3.org/2000/svg"/>', 'RIFF\0\0\0\0WAVE']) {
    const file = new TextEncoder().encode(text);
    expect([isPicture(file), readLabel(file)]).toEqual([false, null]);
  }
});
