/** What wrangler runs before it builds the Worker: the files of the page that are not in the repository. */
import { placeExplorer } from './local/place-explorer.ts';

await placeExplorer();
