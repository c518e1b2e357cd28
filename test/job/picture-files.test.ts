import exifReader from 'exif-reader';
import fc from 'fast-check';
import { decode } from 'fast-png';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { exifBlock } from '../../src/picture/exif.ts';
import { MOST_EXIF, withExifSegment } from '../../src/picture/jpeg.ts';
import { withTexts } from '../../src/picture/png.ts';
import { withExifChunk } from '../../src/picture/webp.ts';

const noise = (channels: 3 | 4, width = 33, height = 17) =>
  sharp(
    Uint8Array.from({ length: width * height * channels }, (_, i) => (i * 89 + i ** 2) % 256),
    { raw: { width, height, channels } },
  );
const texts = (most: number) =>
  fc.uint16Array({ max: most, maxLength: 40 }).map((units) => String.fromCharCode(...units));
const BLOCK = exifBlock({ comment: 'ñ 苹果', note: '{"a":1}' });
const pixelsOf = (file: Uint8Array) => sharp(file).raw().toBuffer();

describe('a block of EXIF', () => {
  it('is read back, whatever the texts and their lengths', () => {
    fc.assert(
      fc.property(texts(0xffff), texts(0x7f), (comment, note) => {
        const { bigEndian, Photo } = exifReader(Buffer.from(exifBlock({ comment, note })));
        expect(bigEndian).toBe(true);
        const text = Photo?.UserComment as Buffer;
        expect(text.toString('latin1', 0, 8)).toBe('UNICODE\0');
        expect(Buffer.from(text.subarray(8)).swap16().toString('utf16le')).toBe(comment);
        expect(Buffer.from(Photo?.MakerNote as Buffer).toString('latin1')).toBe(note);
      }),
    );
  });
});

describe('a WebP file', () => {
  it.each([
    ['lossy', () => noise(3).webp({ quality: 50 })],
    ['lossy of an odd length', () => noise(3, 20, 20).webp({ quality: 3 })],
    ['lossless', () => noise(3).webp({ lossless: true })],
    ['lossless with transparency', () => noise(4).webp({ lossless: true })],
    ['with transparency', () => noise(4).webp({ quality: 50 })],
    ['with a profile of colours', () => noise(3).withIccProfile('p3').webp()],
  ])('%s takes the block, and keeps pixels, transparency and profile', async (_, make) => {
    const file = await make().toBuffer();
    const told = withExifChunk(file, BLOCK);
    const [before, after] = [await sharp(file).metadata(), await sharp(told).metadata()];
    expect(after.exif && Buffer.from(after.exif).includes(Buffer.from(BLOCK))).toBe(true);
    const { exif: _exif, size: _size, ...rest } = after;
    const { size: __, ...was } = before;
    expect(rest).toMatchObject(was);
    expect(await pixelsOf(told)).toEqual(await pixelsOf(file));
    expect(told.length % 2).toBe(0);
    expect(new DataView(told.buffer, told.byteOffset).getUint32(4, true)).toBe(told.length - 8);
    expect(withExifChunk(told, BLOCK)).toBe(told);
  });
});

describe('a JPEG file', () => {
  it('takes the block behind its JFIF segment, or at its beginning', async () => {
    const bare = await noise(3).jpeg().toBuffer();
    expect(bare.includes('JFIF')).toBe(false);
    const jfif = Buffer.from('ffe000104a46494600010100000100010000', 'hex');
    const file = Buffer.concat([bare.subarray(0, 2), jfif, bare.subarray(2)]);
    for (const [one, at] of [
      [file, 2 + jfif.length],
      [bare, 2],
    ] as const) {
      const told = withExifSegment(one, BLOCK);
      expect(Buffer.from(told).indexOf('Exif')).toBe(at + 4);
      expect(Buffer.from((await sharp(told).metadata()).exif as Buffer).includes(Buffer.from(BLOCK))).toBe(true);
      expect(await pixelsOf(told)).toEqual(await pixelsOf(one));
    }
  });

  it('takes no block that has no room in a segment', async () => {
    const file = await noise(3).jpeg().toBuffer();
    expect(withExifSegment(file, new Uint8Array(MOST_EXIF)).length).toBe(file.length + 4 + 6 + MOST_EXIF);
    expect(withExifSegment(file, new Uint8Array(MOST_EXIF + 1))).toBe(file);
  });
});

describe('a PNG file', () => {
  it('takes texts in Latin-1 as every reader knows them, others in UTF-8', async () => {
    const file = await noise(3).png().toBuffer();
    const told = withTexts(file, [
      { keyword: 'one', text: 'naïve\nñ' },
      { keyword: 'two', text: '苹果' },
    ]);
    expect(decode(told, { checkCrc: true }).text).toMatchObject({ one: 'naïve\nñ' });
    const { comments } = await sharp(told).metadata();
    expect(comments?.at(-1)).toEqual({ keyword: 'two', text: '苹果' });
    expect(Buffer.from(told).includes('iTXttwo')).toBe(true);
    expect(await pixelsOf(told)).toEqual(await pixelsOf(file));
  });
});

describe('bytes that are no picture, or a piece of one', () => {
  it('never throw, and come back as they are or longer', async () => {
    const files = await Promise.all([noise(3).png(), noise(3).jpeg(), noise(3).webp()].map((one) => one.toBuffer()));
    const odd = [
      ...files.flatMap((file) => Array.from({ length: 64 }, (_, i) => file.subarray(0, i))),
      Buffer.from('RIFF'),
    ];
    for (const bytes of odd) {
      expect(withTexts(bytes, [{ keyword: 'k', text: 't' }]).length).toBeGreaterThanOrEqual(bytes.length);
      expect(withExifSegment(bytes, BLOCK).length).toBeGreaterThanOrEqual(bytes.length);
      expect(withExifChunk(bytes, BLOCK).length).toBeGreaterThanOrEqual(bytes.length);
    }
  });
});
