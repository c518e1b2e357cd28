/**
 * What can be done with the picture shown: a file of it, a copy, links.
 *
 * @import { LinkedJob } from '../../src/job/links.ts'
 * @import { Session } from '../session/session.js'
 */
import { announce, showAlert } from '../ask/dock.js';
import { byId } from '../ground/element.js';
import { onDemand } from '../wire/on-demand.js';
import { fileName } from './file-name.js';
import { copyPicture, savePicture } from './save.js';

/** Each button, and what it does. @type {Readonly<Record<string, (job: LinkedJob) => Promise<void>>>} */
const ACTS = {
  download: ({ id, prompt, seed, output_format: format }) => savePicture(id, fileName({ prompt, seed, format })),
  'copy-picture': async ({ id }) => {
    await copyPicture(id);
    announce('The picture is on the clipboard.');
  },
  share: async ({ id }) => (await onDemand(() => import('./share.js'))).openShare(id),
};

/** @param {{ shown: () => Session | null, onError: (error: unknown) => void }} page */
export function listenToPictureButtons({ shown, onError }) {
  for (const [id, act] of Object.entries(ACTS))
    byId(id, HTMLButtonElement).onclick = async () => {
      const session = shown();
      if (!session) return;
      showAlert(null);
      try {
        await act(session.main.job);
      } catch (error) {
        onError(error);
      }
    };
}
