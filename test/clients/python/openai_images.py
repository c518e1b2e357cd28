"""OpenAI's client: a picture, and a stream with the pictures between."""

import base64

from openai import OpenAI
from say import KEY, URL, say

client = OpenAI(base_url=f"{URL}/v1", api_key=KEY)

answer = client.images.generate(prompt="a red apple", size="256x256", extra_body={"seed": 7})
say(call="generate", png=base64.b64decode(answer.data[0].b64_json)[:8].hex(), seeds=answer.ralu["seeds"])

for event in client.images.generate(prompt="a red apple", size="256x256", stream=True, partial_images=2):
    say(call="stream", type=event.type)
