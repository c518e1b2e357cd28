/** The module that measures the numerics inside workerd: inputs in the request, measurements in the response. */
import { benchNumerics } from './numerics.ts';

export default {
  async fetch(request: Request): Promise<Response> {
    const form = await request.formData();
    const face = new Uint8Array(await (form.get('face') as File).arrayBuffer());
    return Response.json(benchNumerics({ cases: JSON.parse(form.get('cases') as string), face }));
  },
};
