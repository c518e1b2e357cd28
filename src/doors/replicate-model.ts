/** A model in the shapes of Replicate's models, versions and deployments. Pure. */
import { PLAIN, presetsFor } from '../job/presets.ts';
import type { ModelFacts } from '../stage/contract.ts';

/** A JSON schema. */
export type Schema = Readonly<Record<string, unknown>>;

/** The schema of an input by its name, with those that it refers to. */
export type Schemas = Readonly<Record<string, Schema>>;

/** Where nobody knows when a model was made. */
const NO_DATE = '1970-01-01T00:00:00Z';

/** There is no Cog here; from this version on clients read lists in an output as the schema says. */
const COG_VERSION = '0.3.9';

/** The output of every prediction: the addresses of its pictures. */
const OUTPUT = { type: 'array', items: { type: 'string', format: 'uri' }, title: 'Output' } as const;

/** The fields of an input with what the model takes of them. */
function inputOf(input: Schema, facts: ModelFacts): Schema {
  const { preset, guidance, guidance_scale, ...properties } = (input.properties ?? {}) as Readonly<
    Record<string, Schema>
  >;
  const range = facts.guidance && {
    minimum: facts.guidance.min,
    maximum: facts.guidance.max,
    default: facts.guidance.default,
  };
  return {
    ...input,
    title: 'Input',
    properties: {
      ...properties,
      preset: { ...preset, enum: [PLAIN, ...presetsFor(facts).map(({ name }) => name)] },
      ...(range && { guidance: { ...guidance, ...range }, guidance_scale: { ...guidance_scale, ...range } }),
    },
  };
}

/** A version as Replicate has it. */
export interface ModelVersion {
  readonly id: string;
  readonly created_at: string;
  readonly cog_version: string;
  /** an OpenAPI document whose `components.schemas` has `Input` and `Output` */
  readonly openapi_schema: Schema;
}

/** A model as Replicate has it. */
export interface ReplicateModel {
  readonly url: string;
  readonly owner: string;
  readonly name: string;
  readonly description: string;
  readonly visibility: 'public';
  readonly is_official: false;
  readonly github_url: null;
  readonly paper_url: null;
  readonly license_url: null;
  readonly run_count: number;
  readonly cover_image_url: null;
  readonly default_example: null;
  readonly latest_version: ModelVersion;
}

/** A deployment as Replicate has it. */
export interface Deployment {
  readonly owner: string;
  readonly name: string;
  readonly current_release: {
    readonly number: number;
    /** `owner/name` */
    readonly model: string;
    readonly version: string;
    readonly created_at: string;
    readonly created_by: {
      readonly type: 'organization';
      readonly username: string;
      readonly name: string;
      readonly github_url: null;
    };
    readonly configuration: {
      readonly hardware: string;
      readonly min_instances: number;
      readonly max_instances: number;
    };
  };
}

/** The version of a model, which is its digest. `schemas` has the fields of a prediction under `Input`. */
export function viewVersion(facts: ModelFacts, schemas: Schemas): ModelVersion {
  const { Input = {}, ...others } = schemas;
  return {
    id: facts.digest,
    created_at: NO_DATE,
    cog_version: COG_VERSION,
    openapi_schema: {
      openapi: '3.1.0',
      info: { title: facts.id, version: facts.digest },
      paths: {},
      components: { schemas: { ...others, Input: inputOf(Input, facts), Output: OUTPUT } },
    },
  };
}

/** A model under whatever owner it was asked for by. */
export function viewModel(
  facts: ModelFacts,
  schemas: Schemas,
  { owner, origin }: { readonly owner: string; readonly origin: string },
): ReplicateModel {
  return {
    url: `${origin}/v1/models/${owner}/${facts.id}`,
    owner,
    name: facts.id,
    description: `${facts.licence}. ${facts.card}`.trim(),
    visibility: 'public' as const,
    is_official: false as const,
    github_url: null,
    paper_url: null,
    license_url: null,
    run_count: 0,
    cover_image_url: null,
    default_example: null,
    latest_version: viewVersion(facts, schemas),
  };
}

/** A deployment, which is the model of its name: what runs it is not told. */
export function viewDeployment(
  facts: ModelFacts,
  { owner, name }: { readonly owner: string; readonly name: string },
): Deployment {
  return {
    owner,
    name,
    current_release: {
      number: 1,
      model: `${owner}/${facts.id}`,
      version: facts.digest,
      created_at: NO_DATE,
      created_by: { type: 'organization' as const, username: owner, name: owner, github_url: null },
      configuration: { hardware: 'stage-server', min_instances: 0, max_instances: 0 },
    },
  };
}
