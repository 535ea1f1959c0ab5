import subprocess
import sys

MODULES = (
    "stable_audio.open",
    "stable_audio.save",
    "musicgen.open",
    "musicgen.save",
    "verify",
    "hub.fetch",
    "licenses",
)


def test_importing_checkpoints_imports_no_engine_and_no_hub_client():
    imports = "; ".join(f"import soundloom.checkpoints.{name}" for name in MODULES)
    heavy = "{'torch', 'mlx', 'huggingface_hub', 'sentencepiece', 'safetensors'}"
    code = f"import sys; {imports}; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
