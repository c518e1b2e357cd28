/** A clip of a page as an animated WebP: what the browser paints, at the times at which it paints it. */
import type { Page } from 'playwright-core';
import sharp from 'sharp';

/** What the page looked like from a moment on. */
export interface Frame {
  /** milliseconds of the browser's clock */
  readonly at: number;
  readonly png: Buffer;
}

/** No frame is shown shorter: more of them would be bytes that nobody sees. */
const MIN_FRAME_MS = 100;
/** How long the last one stays before the clip begins again. */
const HOLD_MS = 2000;
/** From the best on: the first that is small enough is taken. */
const QUALITIES = [80, 65, 50, 35] as const;

/**
 * The frames that are shown and for how long, milliseconds. One that comes less than MIN_FRAME_MS after another takes
 * its place, and the last stays for HOLD_MS longer. Law: without that, the clip takes as long as what it shows.
 */
export function pace<Timed extends Pick<Frame, 'at'>>(
  frames: readonly Timed[],
): { readonly shown: readonly Timed[]; readonly delays: readonly number[] } {
  const shown: Timed[] = [];
  for (const frame of frames) {
    const before = shown.at(-1);
    if (before !== undefined && frame.at - before.at < MIN_FRAME_MS)
      shown[shown.length - 1] = { ...frame, at: before.at };
    else shown.push(frame);
  }
  const end = (frames.at(-1)?.at ?? 0) + HOLD_MS;
  const delays = shown.map(({ at }, i) => Math.round(shown[i + 1]?.at ?? end) - Math.round(at));
  return { shown, delays };
}

/** What the page paints while `act` goes on. */
export async function film(page: Page, act: () => Promise<void>): Promise<readonly Frame[]> {
  const session = await page.context().newCDPSession(page);
  const frames: Frame[] = [];
  session.on('Page.screencastFrame', ({ data, metadata, sessionId }) => {
    frames.push({ at: 1000 * (metadata.timestamp ?? 0), png: Buffer.from(data, 'base64') });
    // the page may be closed meanwhile
    session.send('Page.screencastFrameAck', { sessionId }).catch(() => undefined);
  });
  await session.send('Page.startScreencast', { format: 'png', everyNthFrame: 1 });
  await act();
  await session.send('Page.stopScreencast');
  await session.detach();
  if (frames.length < 2) throw new Error('the browser painted nothing new');
  return frames;
}

/** The clip in a width, of at most `maxBytes`. Throws where the lowest quality has more. */
export async function animate(
  frames: readonly Frame[],
  { width, maxBytes }: { readonly width: number; readonly maxBytes: number },
): Promise<Buffer> {
  const { shown, delays } = pace(frames);
  const small = await Promise.all(shown.map(({ png }) => sharp(png).resize({ width }).png().toBuffer()));
  for (const quality of QUALITIES) {
    const clip = await sharp(small, { join: { animated: true } })
      .webp({ quality, effort: 4, delay: [...delays], loop: 0, mixed: true })
      .toBuffer();
    if (clip.byteLength <= maxBytes) return clip;
  }
  throw new Error(`${shown.length} frames do not fit into ${maxBytes} bytes`);
}
