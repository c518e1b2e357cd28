"""Replicate's client: whole sequences, as its users write them."""

import itertools
import sys

import replicate
from replicate.exceptions import ModelError, ReplicateError
from say import KEY, URL, say

client = replicate.Client(api_token=KEY, base_url=URL)
model = f"ralu/{sys.argv[1]}"
APPLE = {"prompt": "a red apple", "width": 256, "height": 256, "seed": 7}
LONG = {"prompt": "a fox", "N": [900], "e": [1]}


def fetch(url):
    with client._client.stream("GET", str(url)) as response:
        response.raise_for_status()
        return response.read()


output = client.run(model, input=APPLE)
say(call="run", png=fetch(output[0])[:8].hex())

found = client.models.get(model)
page = client.models.list()
say(call="models", listed=found.id in [each.id for each in page], next=page.next)
version = found.latest_version
say(
    call="model",
    name=found.name,
    versions=[each.id == version.id for each in found.versions.list()],
)
output = client.run(f"{model}:{version.id}", input={**APPLE, "num_outputs": 2})
say(call="run version", outputs=len(output), kind=type(output).__name__)

# the same where the time to wait is over before the picture: it polls
output = client.run(f"{model}:{version.id}", input={**APPLE, "N": [120], "e": [1]}, wait=1)
say(call="run slowly", png=fetch(next(iter(output)))[:8].hex())

for event in client.stream(model, input=APPLE):
    # of a file str(event) is an error of the client's own
    say(call="stream", event=event.event.value, id=event.id, data=str(event.data)[:5])

prediction = client.predictions.create(
    model=model,
    input={
        "prompt": "a red apple",
        "seed": None,
        "go_fast": True,
        "aspect_ratio": "1:1",
        "num_outputs": 1,
    },
)
prediction.wait()
prediction.reload()
say(
    call="create",
    status=prediction.status,
    logs="stage 1" in prediction.logs,
    seconds=prediction.metrics["predict_time"],
)
listed = [each.id for each in itertools.islice(client.predictions.list(), 5)]
say(call="list", has=prediction.id in listed)

long = client.predictions.create(model=model, input=LONG)
long.cancel()
say(call="cancel", status=long.status)

deployment = client.deployments.get(model)
made = deployment.predictions.create(input=APPLE)
made.wait()
say(call="deployment", model=deployment.current_release.model, status=made.status)

for refused in (
    lambda: client.run(model, input={**APPLE, "width": 100}),
    lambda: client.run("ralu/nobody", input=APPLE),
    lambda: found.versions.get("nobody"),
    lambda: client.models.get("ralu/nobody"),
    lambda: client.predictions.get("nobody"),
    lambda: client.hardware.list(),
):
    try:
        refused()
    except (ReplicateError, ModelError) as error:
        say(
            call="refused",
            title=getattr(error, "title", str(error)),
            status=getattr(error, "status", None),
        )
