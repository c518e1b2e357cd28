"""LiteLLM as a client of an OpenAI-compatible service."""

import base64

import litellm
from say import KEY, URL, say

asked = {"prompt": "a red apple", "api_base": f"{URL}/v1", "api_key": KEY}

answer = litellm.image_generation(model="openai/gpt-image-1", size="256x256", n=1, **asked)
say(call="gpt-image-1", png=base64.b64decode(answer.data[0].b64_json)[:8].hex())

answer = litellm.image_generation(model="openai/dall-e-3", size="1024x1024", quality="standard", **asked)
say(call="dall-e-3", url=answer.data[0].url)

try:
    litellm.image_generation(model="openai/gpt-image-1", size="20000x10", **asked)
except litellm.BadRequestError as error:
    say(call="refused", message=str(error))
