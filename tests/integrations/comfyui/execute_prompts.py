"""Execute prompts in ComfyUI's own code, in a process of its own: `execute_prompts.py COMFYUI PACK FOLDER < PROMPTS`.

Validation, execution, caching, progress, folders and interruption are ComfyUI's. Its `nodes` module, which imports all
image models, is replaced by the same few functions and the pack's nodes; `av` and `einops`, which only other nodes
use, by mere names.
Prints a JSON list with the errors of validation, the messages and the outputs of each prompt. The prompt "interrupt"
executes the next one, and interrupts it as ComfyUI's page does.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
import threading
import types
from pathlib import Path

INTERRUPT_AFTER = 1.0  # seconds


class Names(types.ModuleType):
    """A module that has every name."""

    def __getattr__(self, name: str) -> type:
        return type(name, (), {})


def main(comfy: str, pack: str, folder: str) -> None:
    sys.argv = ["main.py", "--cpu", "--base-directory", folder]
    sys.path.insert(0, comfy)
    import comfy.options

    comfy.options.enable_args_parsing()
    import comfy.model_management
    import folder_paths

    for name in ("einops", "av", "av.container", "av.subtitles", "av.subtitles.stream"):
        sys.modules[name] = Names(name)
    nodes = sys.modules["nodes"] = types.ModuleType("nodes")
    nodes.before_node_execution = comfy.model_management.throw_exception_if_processing_interrupted
    nodes.interrupt_processing = comfy.model_management.interrupt_current_processing
    for name in ("input", "output"):
        Path(folder, name).mkdir(exist_ok=True)
    assert Path(folder_paths.get_output_directory()) == Path(folder, "output")
    # As in load_custom_node: the name of the module is its path.
    spec = importlib.util.spec_from_file_location(pack.replace(".", "_x_"), str(Path(pack, "__init__.py")))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    nodes.NODE_CLASS_MAPPINGS = module.NODE_CLASS_MAPPINGS
    import execution

    class Page:
        """What execution tells ComfyUI's page."""

        client_id = last_node_id = last_prompt_id = None

        def __init__(self) -> None:
            self.sent: list = []

        def send_sync(self, event, data, sid=None):
            self.sent.append(event)

    page = Page()
    executor = execution.PromptExecutor(page)
    results = []
    is_interrupted = False
    for number, prompt in enumerate(json.load(sys.stdin)):
        if prompt == "interrupt":
            is_interrupted = True
            continue
        valid, error, outputs, node_errors = asyncio.run(execution.validate_prompt(str(number), prompt, None))
        found = {"valid": valid, "error": error, "node_errors": node_errors}
        if valid:
            timer = threading.Timer(INTERRUPT_AFTER, nodes.interrupt_processing)
            if is_interrupted:
                timer.start()
            extra = {"extra_pnginfo": {"workflow": {"nodes": []}}, "client_id": "page"}
            page.sent.clear()
            executor.execute(prompt, str(number), extra, outputs)
            timer.cancel()
            found["messages"] = executor.status_messages
            found["outputs"] = executor.history_result["outputs"]
            found["sent"] = page.sent[:]
        is_interrupted = False
        results.append(found)
    print("RESULTS", json.dumps(results, default=str))


if __name__ == "__main__":
    main(*sys.argv[1:])
