/**
 * The button that saves a clip of how a picture came about; while it is recorded, the one that ends that.
 *
 * @import { Session } from '../session/session.js'
 */
import { announce } from '../ask/dock.js';
import { byId } from '../ground/element.js';
import { onDemand } from '../wire/on-demand.js';
import { getJob } from '../wire/service.js';
import { fileName } from './file-name.js';
import { saveFile } from './save.js';

const button = byId('save-clip', HTMLButtonElement);
const progress = byId('clip-progress', HTMLProgressElement);

/** ends what is being recorded @type {AbortController | null} */
let recording = null;

function draw() {
  button.textContent = recording ? 'Stop the clip' : 'Save clip';
  progress.hidden = recording === null;
}

/** @param {Session} session @param {AbortSignal} signal */
async function record(session, signal) {
  const [{ recordClip }, { scenesOf }] = await onDemand(() =>
    Promise.all([import('./clip.js'), import('./scenes.js')]),
  );
  const { main, beside } = session;
  // links run out, and the picture may have been looked at for long
  const [job, other] = await Promise.all([main, beside].map((watched) => watched && getJob(watched.job.id)));
  const { prompt, seed, links } = job ?? main.job;
  const scenes = scenesOf(session, { main: links.image, beside: other?.links.image ?? null });
  const clip = await recordClip(scenes, {
    prompt,
    size: main.run.size,
    signal,
    onProgress(share) {
      progress.value = share;
    },
  });
  if (clip) saveFile(clip.file, fileName({ prompt, seed, format: clip.extension }));
  announce(clip ? 'The clip is saved.' : 'No clip was saved.');
}

/**
 * Saves a clip of the session that is shown when the button is pressed; no button where the browser cannot record.
 *
 * @param {{ shown: () => Session | null, onError: (error: unknown) => void }} page
 */
export function listenToClipButton({ shown, onError }) {
  button.hidden = !('MediaRecorder' in window && 'captureStream' in HTMLCanvasElement.prototype);
  button.onclick = async () => {
    if (recording) return recording.abort();
    const session = shown();
    if (!session) return;
    recording = new AbortController();
    progress.value = 0;
    draw();
    announce('The clip is being recorded.');
    try {
      await record(session, recording.signal);
    } catch (error) {
      onError(error);
    }
    recording = null;
    draw();
  };
}
