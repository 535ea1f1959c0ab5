import subprocess
import sys

HEAVY = ("torch", "mlx", "numpy", "soundfile", "rich", "huggingface_hub", "sentencepiece")


def test_importing_the_package_loads_nothing_heavy():
    code = f"import sys, soundloom; print([m for m in {HEAVY} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_dir_lists_the_public_names_and_nothing_else():
    import soundloom
    import soundloom.pipeline.load

    assert dir(soundloom) == sorted(soundloom.__all__)


def test_all_public_names_resolve():
    import soundloom

    for name in soundloom.__all__:
        assert getattr(soundloom, name) is not None
