"""Draws a picture with the client that openapi-python-client makes: the package `ralu_client` in the folder given."""

import sys

from say import KEY, URL, say

sys.path.insert(0, sys.argv[1])

from ralu_client import AuthenticatedClient
from ralu_client.api.jobs import create_job, get_job, get_job_image
from ralu_client.models import Job, JobRequest, Problem

client = AuthenticatedClient(base_url=URL, token=KEY)

started = create_job.sync(client=client, body=JobRequest(prompt="a red apple", width=256, height=256, seed=7))
assert isinstance(started, Job), started
job = get_job.sync(started.id, client=client, wait=60)
assert isinstance(job, Job), job
image = get_job_image.sync_detailed(started.id, client=client)
refused = get_job.sync("job_none", client=client)
assert isinstance(refused, Problem), refused

say(
    status=job.status.value,
    stages=len(job.plan.stages),
    ratio=job.receipt.tflops.ratio,
    usd=job.cost.usd,
    bytes=job.image.bytes_,
    png=image.content[:8].hex(),
    size=len(image.content),
    code=refused.code,
)
