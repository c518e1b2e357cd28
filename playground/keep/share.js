/** Links that show a picture to whoever has them: made, copied and ended in a dialog. */
import { addStyle, element } from '../ground/element.js';
import { endShare, getJob, listShares, shareJob } from '../wire/service.js';
import { explainGone } from './save.js';

/** @import { Share } from '../wire/service.js' */

/** How long a link may open, in seconds. */
const DURATIONS = /** @type {const} */ ([
  ['one hour', 3600],
  ['one day', 86_400],
  ['30 days', 30 * 86_400],
]);
/** The longest that can be asked for: a link ends with its picture anyway. */
const AS_LONG_AS_IT_IS_KEPT = 365 * 86_400;

// a bare dialog is better than none
const styled = addStyle('style/share.css').catch(() => undefined);

const TIME = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });
/** @param {number} seconds since 1970 */
const timeOf = (seconds) => TIME.format(seconds * 1000);

/** The choices that end before the picture does, and the one that ends with it. @param {number} keptUntil */
function choices(keptUntil) {
  const left = keptUntil - Date.now() / 1000;
  const shorter = DURATIONS.filter(([, seconds]) => seconds < left);
  return [
    ...shorter.map(([words, seconds]) => element('option', { value: String(seconds) }, `for ${words}`)),
    element('option', { value: String(AS_LONG_AS_IT_IS_KEPT), selected: true }, 'as long as the picture is kept'),
  ];
}

/**
 * Opens the dialog for a job's picture; resolves when it is open. Rejects with a sentence for people where the job is
 * gone.
 *
 * @param {string} job
 */
export async function openShare(job) {
  const [{ expires_at: end }, shares] = await Promise.all([getJob(job), listShares(job), styled]).catch(explainGone);
  // what has a picture has an end
  const keptUntil = end ?? 0;
  const alert = element('p', { className: 'alert', role: 'alert', hidden: true });
  const said = element('p', { className: 'note', role: 'status' });
  const list = element('ul', { className: 'shares' });
  const howLong = element('select', { id: 'share-time', 'aria-describedby': 'share-kept' }, ...choices(keptUntil));
  const make = element('button', { type: 'button', className: 'main' }, 'Make a link');
  const close = element('button', { type: 'button' }, 'Close');
  let isBusy = false;

  /** Does one thing at a time, and says what went wrong. @param {() => Promise<void>} act */
  async function attempt(act) {
    if (isBusy) return;
    isBusy = true;
    alert.hidden = true;
    said.textContent = '';
    try {
      await act();
    } catch (error) {
      alert.textContent = error instanceof Error ? error.message : String(error);
      alert.hidden = false;
    } finally {
      isBusy = false;
    }
  }

  /** One link with what can be done with it. @param {Share} share */
  function makeItem({ id, url, expires_at: until }) {
    const field = element('input', {
      type: 'text',
      readOnly: true,
      value: url,
      'aria-label': `Link that works until ${timeOf(until)}`,
    });
    field.onfocus = () => field.select();
    const copy = element('button', { type: 'button' }, 'Copy link');
    const stop = element('button', { type: 'button' }, 'Stop sharing');
    const item = element(
      'li',
      {},
      field,
      element('p', { className: 'note' }, `Works until ${timeOf(until)}.`),
      element('div', { className: 'row' }, copy, stop),
    );
    copy.onclick = () =>
      attempt(async () => {
        await navigator.clipboard.writeText(url).catch(() => {
          field.focus();
          throw new Error('The browser keeps the page from the clipboard; copy the link by hand.');
        });
        said.textContent = 'The link is on the clipboard.';
      });
    stop.onclick = () =>
      attempt(async () => {
        await endShare(job, id);
        item.remove();
        make.focus();
        said.textContent = 'The link shows nothing any more.';
      });
    return { item, field };
  }

  make.onclick = () =>
    attempt(async () => {
      const { item, field } = makeItem(await shareJob(job, Number(howLong.value)));
      list.prepend(item);
      field.focus();
      said.textContent = 'The link is made.';
    });

  list.append(...shares.toReversed().map((share) => makeItem(share).item));
  const dialog = element(
    'dialog',
    { className: 'share', 'aria-labelledby': 'share-title' },
    element('h2', { id: 'share-title' }, 'Share this picture'),
    element(
      'p',
      {},
      'Whoever has the link sees this picture, its prompt and seed, and how it was made. They need no key, and see nothing else of yours.',
    ),
    element('label', { htmlFor: 'share-time' }, 'The link works'),
    element('div', { className: 'row' }, howLong, make),
    element('p', { className: 'note', id: 'share-kept' }, `The picture is kept until ${timeOf(keptUntil)}.`),
    alert,
    said,
    list,
    close,
  );
  close.onclick = () => dialog.close();
  dialog.onclose = () => dialog.remove();
  document.body.append(dialog);
  dialog.showModal();
}
