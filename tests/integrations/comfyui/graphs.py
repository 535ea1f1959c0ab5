"""Prompts for ComfyUI's nodes, and a small stand-in for its execution of them."""

from __future__ import annotations

import json
from typing import Any

VALUES = ("INT", "FLOAT", "STRING", "BOOLEAN")  # types of inputs that a user types

MODEL = {"class_type": "SoundloomModel", "inputs": {"name": "mini", "load": False}}


def generate(**inputs: Any) -> dict[str, Any]:
    usual = {"model": ["model", 0], "prompt": "rain", "seconds": 1.0, "seed": 7, "count": 1, "steps": 0}
    return {"class_type": "SoundloomGenerate", "inputs": usual | inputs}


def edit(**inputs: Any) -> dict[str, Any]:
    usual = {"model": ["model", 0], "kind": "inpaint", "prompt": "siren", "regions": "0.25-0.5", "noise": 0.6}
    return {"class_type": "SoundloomEdit", "inputs": usual | {"extend_by": 0.5, "seed": 3, "steps": 0} | inputs}


def save(node: str, format: str = "flac", prefix: str = "audio/test") -> dict[str, Any]:
    return {"class_type": "SoundloomSave", "inputs": {"clips": [node, 1], "filename_prefix": prefix, "format": format}}


def run(pack: Any, prompt: dict[str, Any]) -> dict[str, Any]:
    """Execute a prompt as ComfyUI does: each node once, after those it needs; return what each puts out."""
    done: dict[str, Any] = {}

    def node(name: str) -> Any:
        if name not in done:
            kind = pack.NODE_CLASS_MAPPINGS[prompt[name]["class_type"]]
            inputs = prompt[name]["inputs"]
            _validate(kind, inputs)
            given = {key: node(one[0])[one[1]] if _is_link(one) else one for key, one in inputs.items()}
            if "prompt" in kind.INPUT_TYPES().get("hidden", {}):
                given |= {"prompt": prompt, "extra_pnginfo": {"workflow": {"nodes": []}}}
            done[name] = getattr(kind(), kind.FUNCTION)(**given)
            assert isinstance(done[name], dict) or len(done[name]) == len(kind.RETURN_TYPES)
        return done[name]

    for name in prompt:
        node(name)
    return done


def to_prompt(workflow: dict[str, Any], mappings: dict[str, Any]) -> dict[str, Any]:
    """Return the prompt of a workflow as ComfyUI's page stores it: the values of a node are in the order of inputs."""
    links = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    prompt = {}
    for node in workflow["nodes"]:
        if node["type"] not in mappings:
            continue  # notes
        found, values = {}, iter(node.get("widgets_values", ()))
        linked = {one["name"]: links[one["link"]] for one in node.get("inputs", ()) if one.get("link") is not None}
        for name, spec in declared(mappings[node["type"]]).items():
            if isinstance(spec[0], list) or spec[0] in VALUES:  # also stored where a link replaces it
                found[name] = next(values)
                if len(spec) > 1 and spec[1].get("control_after_generate"):
                    assert next(values) in ("fixed", "randomize", "increment", "decrement")
            if name in linked:
                found[name] = linked[name]
        assert not list(values), f"node {node['id']} has more values than inputs"
        prompt[str(node["id"])] = {"class_type": node["type"], "inputs": found}
    return prompt


def declared(kind: Any) -> dict[str, Any]:
    inputs = kind.INPUT_TYPES()
    return {**inputs["required"], **inputs.get("optional", {})}


def _validate(kind: Any, inputs: dict[str, Any]) -> None:
    known = declared(kind)
    assert set(inputs) <= set(known), "unknown inputs"
    assert set(kind.INPUT_TYPES()["required"]) <= set(inputs), "missing inputs"
    for name, value in inputs.items():
        if not _is_link(value) and isinstance(known[name][0], list) and not hasattr(kind, "VALIDATE_INPUTS"):
            assert value in known[name][0]
    json.dumps(inputs)


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int)
