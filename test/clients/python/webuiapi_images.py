"""webuiapi, a client of AUTOMATIC1111's API."""

import threading
import time

import webuiapi
from say import KEY, URL, say

api = webuiapi.WebUIApi(baseurl=f"{URL}/sdapi/v1", username="anyone", password=KEY)

say(call="models", titles=api.util_get_model_names(), current=api.util_get_current_model())
say(call="samplers", names=api.util_get_sampler_names(), schedulers=api.util_get_scheduler_names())
api.util_set_model(api.util_get_model_names()[0])

result = api.txt2img(prompt="a red apple", seed=7, batch_size=2, steps=4)
say(call="txt2img", sizes=[list(image.size) for image in result.images], info=result.info)
say(call="told", warnings=result.json["warnings"])
told = api.png_info(result.images[1])
say(call="png_info", same=told.info == result.info["infotexts"][1], seed=told.json["parameters"]["Seed"])

drawing = threading.Thread(target=lambda: say(call="long", error=str(attempt(steps=900))))


def attempt(**fields: object) -> object:
    try:
        return api.txt2img(prompt="a red apple", width=256, height=256, **fields)
    except RuntimeError as error:
        return error.args[0]


drawing.start()
for _ in range(600):
    progress = api.get_progress()
    if progress["progress"] > 0:
        break
    time.sleep(0.05)
say(call="progress", is_under_way=0 < progress["progress"] < 1, jobs=progress["state"]["job_count"])
api.interrupt()
drawing.join()
api.util_wait_for_ready(check_interval=0.05)

say(call="refused", status=attempt(enable_hr=True))
