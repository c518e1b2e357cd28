/** An OpenAPI document as one HTML page: every operation with its fields, their types and rules. Pure. */
import { html, raw } from 'hono/html';

type Html = ReturnType<typeof html>;

export interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly maxLength?: number;
  readonly default?: unknown;
}

interface Answer {
  readonly $ref?: string;
  readonly description?: string;
  readonly content?: Readonly<Record<string, { readonly schema?: Schema }>>;
}

interface Operation {
  readonly summary?: string;
  readonly parameters?: readonly {
    readonly name: string;
    readonly in: string;
    readonly required?: boolean;
    readonly schema?: Schema;
    readonly description?: string;
  }[];
  readonly requestBody?: {
    readonly description?: string;
    readonly content: Readonly<Record<string, { readonly schema?: Schema }>>;
  };
  readonly responses: Readonly<Record<string, Answer>>;
}

export interface ApiDocument {
  readonly info: { readonly title: string; readonly description?: string };
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components?: {
    readonly schemas?: Readonly<Record<string, Schema>>;
    readonly responses?: Readonly<Record<string, Answer>>;
  };
}

const STYLE = `
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 0 auto; padding: 1rem; }
h2 { margin-top: 2.5rem; font-size: 1.1rem; overflow-wrap: anywhere; }
code, .method { font-family: ui-monospace, monospace; }
.method { font-weight: 700; text-transform: uppercase; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; }
th, td { text-align: left; vertical-align: top; padding: .25rem .5rem; border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent); }
td { overflow-wrap: anywhere; }
`;

/** `#/components/schemas/Job` → `Job`. */
const nameOf = (ref: string): string => ref.slice(ref.lastIndexOf('/') + 1);

/** The type in a few words. */
function typeOf(schema: Schema): string {
  if (schema.$ref) return nameOf(schema.$ref);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(' | ');
  const parts = schema.anyOf ?? schema.oneOf;
  if (parts) return parts.map(typeOf).join(' | ');
  if (schema.type === 'array') return `${schema.items ? typeOf(schema.items) : 'any'}[]`;
  return schema.type === undefined ? 'any' : [schema.type].flat().join(' | ');
}

function rules({ minimum, maximum, exclusiveMinimum, maxLength, default: value }: Schema): string {
  return [
    minimum === undefined ? '' : `at least ${minimum}`,
    exclusiveMinimum === undefined ? '' : `above ${exclusiveMinimum}`,
    maximum === undefined ? '' : `at most ${maximum}`,
    maxLength === undefined ? '' : `at most ${maxLength} characters`,
    value === undefined ? '' : `${JSON.stringify(value)} when absent`,
  ]
    .filter((rule) => rule !== '')
    .join(', ');
}

interface Field {
  readonly name: string;
  readonly place: string;
  readonly isRequired: boolean;
  readonly schema: Schema;
  readonly description: string;
}

const table = (fields: readonly Field[]): Html | '' =>
  fields.length === 0
    ? ''
    : html`<table>
        <thead><tr><th scope="col">field</th><th scope="col">type</th><th scope="col">meaning</th></tr></thead>
        <tbody>
          ${fields.map(
            ({ name, place, isRequired, schema, description }) =>
              html`<tr><td><code>${name}</code>${place === '' ? '' : ` (${place})`}${isRequired ? ', required' : ''}</td><td><code>${typeOf(schema)}</code></td><td>${[description, rules(schema)].filter((text) => text !== '').join('; ')}</td></tr>`,
          )}
        </tbody>
      </table>`;

const fieldsOf = ({ properties = {}, required = [] }: Schema): readonly Field[] =>
  Object.entries(properties).map(([name, schema]) => ({
    name,
    place: '',
    isRequired: required.includes(name),
    schema,
    description: schema.description ?? '',
  }));

/** What an answer means, and what it looks like. */
function answer({ description = '', content = {} }: Answer): Html {
  const { $ref } = Object.values(content)[0]?.schema ?? {};
  return html`${description}${$ref ? html` (<a href="#${nameOf($ref)}"><code>${nameOf($ref)}</code></a>)` : ''}`;
}

function operation(
  path: string,
  method: string,
  { summary = '', parameters = [], requestBody, responses }: Operation,
  schemas: Readonly<Record<string, Schema>>,
): Html {
  const ref = Object.values(requestBody?.content ?? {})[0]?.schema;
  const body = ref?.$ref ? schemas[nameOf(ref.$ref)] : ref;
  const given = parameters.map(({ name, in: place, required = false, schema = {}, description = '' }) => ({
    name,
    place,
    isRequired: required,
    schema,
    description: description || (schema.description ?? ''),
  }));
  return html`<section>
    <h2><span class="method">${method}</span> <code>${path}</code></h2>
    <p>${summary}</p>
    ${requestBody?.description ? html`<p>${requestBody.description}</p>` : ''}
    ${table([...given, ...(body ? fieldsOf(body) : [])])}
    <ul>${Object.entries(responses).map(([status, each]) => (each.$ref ? '' : html`<li><code>${status}</code> ${answer(each)}</li>`))}</ul>
    <p>${Object.entries(responses).map(([status, { $ref }]) => ($ref ? html`<a href="#${nameOf($ref)}"><code>${status}</code></a> ` : ''))}</p>
  </section>`;
}

/** The page. It asks for nothing: no script, no font, no picture. */
export function renderDocs({ info, paths, components }: ApiDocument): Html {
  const schemas = components?.schemas ?? {};
  return html`<!doctype html>
<html lang="en">
  <head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>${info.title}: API reference</title><style>${raw(STYLE)}</style></head>
  <body>
    <main>
      <h1>${info.title}: API reference</h1>
      <p>${info.description ?? ''} The same as <a href="openapi.json">OpenAPI 3.1</a>.</p>
      ${Object.entries(paths).map(([path, methods]) => Object.entries(methods).map(([method, each]) => operation(path, method, each, schemas)))}
      <h1>Refusals</h1>
      ${Object.entries(components?.responses ?? {}).map(([name, each]) => html`<section id="${name}"><h2><code>${name}</code></h2><p>${answer(each)}</p></section>`)}
      <h1>Schemas</h1>
      ${Object.entries(schemas).map(([name, schema]) => html`<section id="${name}"><h2><code>${name}</code></h2><p>${schema.description ?? ''}</p>${table(fieldsOf(schema))}</section>`)}
    </main>
  </body>
</html>`;
}
