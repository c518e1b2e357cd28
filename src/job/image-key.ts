/** The key in the bucket of a job's finished image. */
export const imageKey = (id: string, format: string): string => `jobs/${id}/image.${format}`;
