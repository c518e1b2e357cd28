/** The Worker: the app and the Durable Object classes, nothing else. */
import { createApp } from './app.ts';

export { AccountObject } from '../durable-objects/account.ts';
export { DirectoryObject } from '../durable-objects/directory.ts';
export { DispatcherObject } from '../durable-objects/dispatcher.ts';
export { JobObject } from '../durable-objects/job.ts';
export default createApp();
