/** Replicate's models, their versions and deployments: what its clients ask for around a prediction. */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { viewDeployment, viewModel, viewVersion } from '../../doors/replicate-model.ts';
import { modelNamed } from '../../doors/replicate-request.ts';
import type { ModelFacts } from '../../stage/contract.ts';
import { requireKey } from '../auth.ts';
import type { AppEnv } from '../env.ts';
import { offerFor } from '../offer.ts';
import { Problem } from '../problem.ts';
import { publicBase } from '../public-address.ts';
import { inputSchemas } from './input-schemas.ts';
import { modelAt } from './model-at.ts';
import { speakReplicate } from './speak.ts';
import { oneDeployment, oneModel, oneVersion, versions } from './views.ts';

const PATH = '/v1/models/{owner}/{name}';
const names = z.object({ owner: z.string(), name: z.string() });

const getModel = createRoute({
  method: 'get',
  path: PATH,
  summary: 'A model as Replicate has it, under any owner',
  middleware: [speakReplicate, requireKey] as const,
  request: { params: names },
  responses: { 200: oneModel('The model') },
});
const listVersions = createRoute({
  method: 'get',
  path: `${PATH}/versions`,
  summary: 'The versions of a model: one, its digest',
  middleware: [speakReplicate, requireKey] as const,
  request: { params: names },
  responses: { 200: versions('The versions') },
});
const getVersion = createRoute({
  method: 'get',
  path: `${PATH}/versions/{version}`,
  summary: 'A version of a model with the schema of its input',
  middleware: [speakReplicate, requireKey] as const,
  request: { params: names.extend({ version: z.string() }) },
  responses: { 200: oneVersion('The version') },
});
const getDeployment = createRoute({
  method: 'get',
  path: '/v1/deployments/{owner}/{name}',
  summary: 'A deployment, which is the model of its name',
  middleware: [speakReplicate, requireKey] as const,
  request: { params: names },
  responses: { 200: oneDeployment('The deployment') },
});

export function routeReplicateModels(app: OpenAPIHono<AppEnv>): void {
  const inputs = inputSchemas();

  const find = async (c: Context<AppEnv>, name: string): Promise<ModelFacts> => {
    const { models } = await offerFor(c, (there) => modelNamed(there, { field: 'model', name }).ok);
    return modelAt(models, name);
  };

  app.openapi(getModel, async (c) => {
    const { owner, name } = c.req.valid('param');
    const model = await find(c, name);
    return c.json(viewModel(model, inputs(), { owner, origin: publicBase(c.env, c.req.url) }), 200);
  });

  app.openapi(listVersions, async (c) => {
    const model = await find(c, c.req.valid('param').name);
    return c.json({ previous: null, next: null, results: [viewVersion(model, inputs())] }, 200);
  });

  app.openapi(getVersion, async (c) => {
    const { name, version } = c.req.valid('param');
    const model = await find(c, name);
    if (model.digest !== version)
      throw new Problem({
        status: 404,
        code: 'version_not_found',
        detail: `Model ${model.id} has no version ${version.slice(0, 100)}; it has ${model.digest}.`,
      });
    return c.json(viewVersion(model, inputs()), 200);
  });

  app.openapi(getDeployment, async (c) => {
    const { owner, name } = c.req.valid('param');
    return c.json(viewDeployment(await find(c, name), { owner, name }), 200);
  });
}
