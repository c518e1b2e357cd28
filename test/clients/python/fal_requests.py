"""fal's client: the queue with its logs, runs and streams, as its users write them."""

import base64
import sys

import fal_client
import fal_client.client as fal
import httpx
from say import KEY, URL, say

# FAL_RUN_HOST and FAL_QUEUE_RUN_HOST say the same for a service behind https
fal.RUN_URL_FORMAT = f"{URL}/fal/run/"
fal.QUEUE_URL_FORMAT = f"{URL}/fal/queue/"
client = fal_client.SyncClient(key=KEY)
app = f"ralu/{sys.argv[1]}"
APPLE = {
    "prompt": "a red apple",
    "image_size": {"width": 256, "height": 256},
    "seed": 7,
}


def start(url):
    return base64.b64decode(url.split(",")[1])[:8] if url.startswith("data:") else httpx.get(url).content[:8]


def told(update):
    return {
        "kind": type(update).__name__,
        "logs": len(getattr(update, "logs", None) or []),
    }


updates = []
result = client.subscribe(
    app,
    APPLE,
    with_logs=True,
    on_queue_update=lambda update: updates.append(told(update)),
)
say(
    call="subscribe",
    png=start(result["images"][0]["url"]).hex(),
    seed=result["seed"],
    last=updates[-1],
)

handle = client.submit(app, {**APPLE, "num_images": 2}, priority="low", path="/dev")
for update in handle.iter_events(with_logs=False):
    say(call="events", **told(update))
result = handle.get()
say(call="get", images=len(result["images"]), warnings=result["warnings"])

result = client.run(
    app,
    {
        "prompt": "a red apple",
        "image_size": "square_hd",
        "sync_mode": True,
        "seed": None,
        "guidance_scale": 3.5,
        "num_inference_steps": 4,
        "enable_safety_checker": True,
        "output_format": "jpeg",
    },
    start_timeout=3600,
)
say(
    call="run",
    jpeg=start(result["images"][0]["url"]).hex()[:4],
    width=result["images"][0]["width"],
)

for event in client.stream(app, APPLE):
    say(
        call="stream",
        url=event["images"][0]["url"][:5],
        stage=(event.get("partial") or {}).get("stage"),
    )

handle = client.submit(app, {"prompt": "a fox", "num_inference_steps": 900})
handle.cancel()
for refused in (
    handle.get,
    lambda: client.run(app, {"prompt": "a fox", "image_url": "https://example.com/a.png"}),
    lambda: client.run("ralu/nobody", APPLE),
):
    try:
        refused()
    except fal_client.FalClientHTTPError as error:
        say(
            call="refused",
            status=error.status_code,
            type=error.error_type,
            message=str(error)[:200],
        )
