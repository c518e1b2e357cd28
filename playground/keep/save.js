/** A finished picture out of the page: as a file, and on the clipboard. */
import { getJob, Refusal } from '../wire/service.js';

/** What is said of a picture that is not there any more. */
export const GONE = 'The picture is gone: it was erased, or its time is over.';

/** Throws a sentence for people where a job is gone, else what went wrong. @param {unknown} error @returns {never} */
export function explainGone(error) {
  throw error instanceof Refusal && error.status === 404 ? new Error(GONE) : error;
}

/**
 * The file of a job's picture. Rejects with a sentence for people where it is gone.
 *
 * @param {string} id
 * @returns {Promise<Blob>}
 */
async function fetchPicture(id) {
  const { links } = await getJob(id).catch(explainGone);
  const response = await fetch(links.image).catch(() => null);
  if (response?.ok) return response.blob();
  throw new Error(response?.status === 404 ? GONE : 'The picture could not be fetched; try again.');
}

/** Saves a job's picture. @param {string} id @param {string} name */
export const savePicture = async (id, name) => saveFile(await fetchPicture(id), name);

/** Saves a file among the person's downloads. @param {Blob} file @param {string} name */
export function saveFile(file, name) {
  const address = URL.createObjectURL(file);
  const link = Object.assign(document.createElement('a'), { href: address, download: name });
  link.click();
  // the browser has begun to read it by then
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/** Puts a job's picture on the clipboard, as PNG: the one format that every clipboard takes. @param {string} id */
export async function copyPicture(id) {
  // the clipboard wants to be asked while the press of the button is fresh, and takes a promise
  await navigator.clipboard.write([new ClipboardItem({ 'image/png': fetchPicture(id).then(asPng) })]);
}

/** @param {Blob} file @returns {Promise<Blob>} */
async function asPng(file) {
  if (file.type === 'image/png') return file;
  const bitmap = await createImageBitmap(file);
  const canvas = Object.assign(document.createElement('canvas'), { width: bitmap.width, height: bitmap.height });
  canvas.getContext('2d')?.drawImage(bitmap, 0, 0);
  return new Promise((resolve, reject) =>
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error('The picture could not be drawn.'))), 'image/png'),
  );
}
