/** What AUTOMATIC1111's png-info says of files: of ours, of those of other programs, and of broken ones. */
import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { readSettings, viewPngInfo } from '../../src/doors/a1111-infotext.ts';
import { againOf, labelled, settingsText } from '../../src/job/label.ts';
import { draftRequest, type RequestInput } from '../../src/job/plan-request.ts';
import { ascii, joined, uint32 } from '../../src/picture/bytes.ts';
import { exifBlock, readExif } from '../../src/picture/exif.ts';
import { exifSegmentOf, withExifSegment } from '../../src/picture/jpeg.ts';
import { textsIn, withTexts } from '../../src/picture/png.ts';
import { textsOf } from '../../src/picture/texts.ts';
import { exifChunkOf, withExifChunk } from '../../src/picture/webp.ts';
import { FLUX, value } from '../job/requests.ts';
import { pictureIn } from '../page/pictures.ts';

const FORMATS = ['png', 'webp', 'jpeg'] as const;
const tools = { allowEngineChange: false, tariff: null, draw: () => 41, mayEnlarge: true, metadata: true };
const memo = new Map();
const jobOf = (input: Partial<RequestInput>) =>
  value(draftRequest({ prompt: 'a red apple', ...input }, FLUX, tools)).plan(memo)[0]!;
const infoOf = (file: Uint8Array) => {
  const texts = textsOf(file);
  return texts && viewPngInfo(texts);
};

const words = fc.oneof(
  fc.uint16Array({ minLength: 1, maxLength: 40 }).map((units) => String.fromCharCode(...units)),
  fc.constantFrom('苹果 🍎\nñ', 'one, two: "three"', '\ufefffirst', 'a\nSteps: none'),
);

describe.each(FORMATS)('a picture in %s', (format) => {
  test('has its settings as they were written, and the request for programs', () => {
    fc.assert(
      fc.property(words, (prompt) => {
        const { request, plan } = jobOf({ prompt, output_format: format });
        const file = labelled(pictureIn(format), request, plan);
        const told = infoOf(file);
        const again = againOf(request, plan);
        const settings = { steps: request.schedule.steps, digest: plan.model.digest };
        expect(told?.info).toBe(settingsText(again.request, settings));
        expect(JSON.parse(told?.items.ralu ?? '')).toEqual(JSON.parse(JSON.stringify(again)));
        expect(told?.parameters).toMatchObject({ Seed: '41', 'Size-1': '1024', 'Size-2': '1024', Model: FLUX.id });
      }),
      { numRuns: 60 },
    );
  });

  test('says nothing where it has no settings', () => {
    expect(infoOf(pictureIn(format))).toEqual({ info: '', items: {}, parameters: {} });
  });

  test('is read wherever it is cut off, and whatever bytes are wrong', () => {
    const { request, plan } = jobOf({ output_format: format });
    const file = labelled(pictureIn(format), request, plan);
    const wrong = fc.array(fc.tuple(fc.nat(file.length - 1), fc.nat(255)), { maxLength: 8 });
    fc.assert(
      fc.property(fc.nat(file.length), wrong, (length, changes) => {
        const copy = file.slice(0, length);
        for (const [at, byte] of changes) if (at < length) copy[at] = byte;
        const told = infoOf(copy);
        expect(told === null || typeof told.info === 'string').toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});

describe('the readers give back what the writers wrote', () => {
  const text = fc.uint16Array({ maxLength: 40 }).map((units) => String.fromCharCode(...units).toWellFormed());

  test('texts of PNG, in their order', () => {
    const keyword = fc.stringMatching(/^[a-zA-Z]{1,79}$/);
    fc.assert(
      fc.property(fc.array(fc.record({ keyword, text }), { maxLength: 5 }), (texts) => {
        expect([...textsIn(withTexts(pictureIn('png'), texts))]).toEqual(texts);
      }),
    );
  });

  test('a block of EXIF, in JPEG and in WebP', () => {
    fc.assert(
      fc.property(text, fc.stringMatching(/^[ -~]{5,40}$/), (comment, note) => {
        const block = exifBlock({ comment, note });
        expect(readExif(block)).toEqual({ comment, note });
        expect(exifSegmentOf(withExifSegment(pictureIn('jpeg'), block))).toEqual(block);
        expect(exifChunkOf(withExifChunk(pictureIn('webp'), block))).toEqual(block);
      }),
    );
  });

  test('a block of another program, low bytes first and in ASCII', () => {
    const comment = ascii('ASCII\0\0\0a cat');
    const words = (...values: number[]) => new Uint8Array(new Uint32Array(values).buffer);
    const block = Uint8Array.from([
      ...ascii('II*\0'),
      ...words(8),
      ...[1, 0, 0x69, 0x87, 4, 0, ...words(1, 26, 0)],
      ...[1, 0, 0x86, 0x92, 7, 0, ...words(comment.length, 44, 0)],
      ...comment,
    ]);
    expect(readExif(block)).toEqual({ comment: 'a cat', note: '' });
  });
});

describe('settings taken apart', () => {
  test('are those of AUTOMATIC1111, values in quotes without them, sizes in two', () => {
    const text =
      'a cat, (sleeping:1.2)\non a mat\nNegative prompt: dogs,\nrain\nSteps: 20, Sampler: DPM++ 2M, CFG scale: 7, Seed: 5, Size: 512x768, Lora hashes: "a: 1, b: 2", Version: v1.10.1';
    expect(readSettings(text)).toEqual({
      Prompt: 'a cat, (sleeping:1.2)\non a mat',
      'Negative prompt': 'dogs,\nrain',
      Steps: '20',
      Sampler: 'DPM++ 2M',
      'CFG scale': '7',
      Seed: '5',
      'Size-1': '512',
      'Size-2': '768',
      'Lora hashes': 'a: 1, b: 2',
      Version: 'v1.10.1',
    });
  });

  test.each(['a cat', 'Steps: 3', 'a: b, c', '', '__proto__: 1', 'a: "x'])('%o is a prompt alone', (text) => {
    expect(readSettings(text)).toEqual({ Prompt: text, 'Negative prompt': '' });
  });

  test('take time in proportion to their length, whatever they are', () => {
    for (const part of ['aa ', 'aa: "', 'aa: "\\', 'a:', ' -/ ', 'aa: "x", ']) {
      const begin = performance.now();
      readSettings(part.repeat(1_000_000 / part.length));
      expect(performance.now() - begin, part).toBeLessThan(2000);
    }
  });
});

test('what is no picture has no texts, and one with very many has a bounded number', () => {
  for (const bytes of [new Uint8Array(0), ascii('GIF89a'), ascii('{"a": 1}')]) expect(textsOf(bytes)).toBeNull();
  const many = Array.from({ length: 500 }, (_, i) => ({ keyword: `k${i}`, text: 'x' }));
  expect(textsOf(withTexts(pictureIn('png'), many))?.size).toBe(100);
  const long = Array.from({ length: 3 }, (_, i) => ({ keyword: `k${i}`, text: 'x'.repeat(600_000) }));
  expect([...(textsOf(withTexts(pictureIn('png'), long)) ?? new Map()).keys()]).toEqual(['k0']);
});

test('of a file full of texts no more are decoded than are told', () => {
  const decode = vi.spyOn(TextDecoder.prototype, 'decode');
  const full = Array.from({ length: 500 }, (_, i) => ({ keyword: `k${i}`, text: '苹' }));
  expect(textsOf(withTexts(pictureIn('png'), full))?.size).toBe(100);
  expect(decode).toHaveBeenCalledTimes(100);
  decode.mockRestore();
});

test('of a picture of 12 MB hardly more is looked at than is told', () => {
  const pixels = new Uint8Array(12_000_000);
  const png = joined(pictureIn('png').subarray(0, 33), uint32(pixels.length), ascii('IDAT'), pixels, uint32(0));
  const jpeg = joined(pictureIn('jpeg'), pixels);
  const webp = joined(pictureIn('webp'), ascii('JUNK'), uint32(pixels.length).reverse(), pixels);
  const block = exifBlock({ comment: 'a cat', note: '' });
  const files = [
    withTexts(png, [{ keyword: 'parameters', text: 'a cat' }]),
    joined(png, withTexts(pictureIn('png'), [{ keyword: 'parameters', text: 'a cat' }]).subarray(33)),
    withExifSegment(jpeg, block),
    withExifChunk(webp, block),
  ];
  for (const file of files) {
    let looked = 0;
    const subarray = (from: number, to: number): Uint8Array => {
      looked += Math.max(0, Math.min(to, file.length) - from);
      return file.subarray(from, to);
    };
    const texts = textsOf({ length: file.length, subarray });
    expect([...(texts ?? new Map()).values()]).toEqual(['a cat']);
    expect(looked).toBeLessThan(2000);
  }
});

test('a value of EXIF that is longer than any prompt is left out, and the others are read', () => {
  const long = 'x'.repeat(2 ** 20 + 1);
  expect(readExif(exifBlock({ comment: long, note: 'a note' }))).toEqual({ comment: '', note: 'a note' });
});
