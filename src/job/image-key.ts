/** The key in the bucket of a job's finished image. */
export const imageKey = (id: string, format: string): string => `jobs/${id}/image.${format}`;

/** The job that such a key is of; empty text for what is no such key. */
export const jobOfImageKey = (key: string): string => /^jobs\/([^/]+)\//.exec(key)?.[1] ?? '';
