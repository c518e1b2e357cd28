/** The groups of the OpenAPI document, its tags: readers show them as contents, generators as modules. Pure. */

interface Group {
  readonly name: string;
  readonly description: string;
  /** of the paths in it that are in no group before it */
  readonly paths: RegExp;
}

/** In the order that they are shown. */
const GROUPS: readonly Group[] = [
  { name: 'Jobs', description: 'Make a picture, watch it, fetch it', paths: /^\/v1\/jobs(\/|$)/ },
  { name: 'Models', description: 'What can be asked for', paths: /^\/v1\/models(\/\{id\})?$/ },
  { name: 'Account', description: 'The account of the key: keys, money, usage', paths: /^\/v1\/(account|usage)(\/|$)/ },
  { name: 'Webhooks', description: 'How calls of your addresses are signed', paths: /^\/v1\/webhooks\// },
  {
    name: 'OpenAI',
    description: 'The same jobs for clients of OpenAI and Azure',
    paths: /^\/(openai|v1\/images)\//,
  },
  {
    name: 'Replicate',
    description: 'The same jobs for clients of Replicate',
    paths: /^\/v1\/(predictions|models|deployments)(\/|$)/,
  },
  { name: 'fal', description: 'The same jobs for clients of fal', paths: /^\/fal\// },
  { name: 'AUTOMATIC1111', description: 'The same jobs for tools of AUTOMATIC1111', paths: /^\/sdapi\// },
  { name: 'Black Forest Labs', description: 'The same jobs for clients of Black Forest Labs', paths: /^\/bfl\// },
  { name: 'Administration', description: 'For whoever runs the service', paths: /^\/v1\/(accounts|fleet)(\/|$)/ },
];

/** The document's own list of groups. */
export const TAGS = GROUPS.map(({ name, description }) => ({ name, description }));

/** The group of the operations at `path`; null where nobody has said one. */
export const groupOf = (path: string): string | null => GROUPS.find(({ paths }) => paths.test(path))?.name ?? null;
