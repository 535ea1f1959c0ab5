"""The sha256 of published files at the commits that the catalogue pins, where they are on public record.

Hashes that are missing here are recorded at the first download: see `checkpoints.hub.first_downloads`.
"""

TEXT_ENCODER_CONFIG = "575334409716886ac2952f5a275ed92868deef8a0ea560258d9970a431c6fb3a"
TEXT_ENCODER = "9b05ea5a4f211d023832f706fb2c0e83e4fc721b6da35ab69ceb0b55eb7800d3"
TEXT_ENCODER_TOKENIZER = "61a7b147390c64585d6c3543dd6fc636906c9af3865a5548f27f31aee1d4c8e2"

# model_config.json and model.safetensors of each published model.
PUBLISHED = {
    "small-music": (
        "100776f25af5aa83f70e0c6b384de6690cb4e5ad01c24f7cfbb6524d18765f06",
        "da85866b11b01d0694d990785f6abbd79c8064df1b0e6f8aea52935e0ef84b64",
    ),
    "small-sfx": (
        "a8aa5d45ae3d6524d3cd4e85e0d6e7d8d401267e7c6f28214bca8aae7b77bdeb",
        "ed9cf1b6172f1a8c2921a9560c21109ff3239524563ced9dce6dcdef41e2f515",
    ),
    "medium": (
        "4f8846649df59167e1792d134acb6fc2bb7105227c5455300bad6cb107e20c88",
        "48d9c65e290e7bcd5194e0633bfc2424a59ee9683f5c2d58762d997b7d8ce0b5",
    ),
    "small-music-base": (
        "e97f53a0882a99b0307cf7d87d63423f75925b5def5efc180d29740899c62486",
        "79691fac2a08a99a229b98963f8377ddc78c16f5c63f7e3a022375c311093ab4",
    ),
    "small-sfx-base": (
        "cecfbca43fa8ece5d1d128fba74a39594ea954b2b128048534f72665c6721165",
        "0c7cddb22cd7bf5e8169c6731a9eb7690c27ef5b53e8a4f9b4b2aaf8afcdaea2",
    ),
    "medium-base": (
        "27e2a299f0bda6ff742d3387398f929299575642f2c6a4d4c4f94830928fd0d5",
        "c443fcc4d491475064cd0ff3eb92459b1e5f5060e86d96d016f048e528e24195",
    ),
    "same-s": (
        "c329dd0a6f61d0b3ea4f23930059a6c00437005692fed4310924eb286253303a",
        "c19698ce3a0b462acb967ee495e9eb7945221f236968c50206cce8cf22b3d305",
    ),
    "same-l": (
        "9ca55d03d868b8f6769cd7d678430a6b70c328db24350601903a92001bd4f9f1",
        "8cf93d5345c559307fc429bde896f594516fd6a1a23014c2f6055f78d8e13378",
    ),
}
NPZ = {
    "dit_medium_f16.npz": "f9e5647ea3225818657d47d47ae4b34afa29c0568206ca89566c1a758944a38e",
    "dit_sm-music_f16.npz": "8ed3f38e2597f361ee675051f1265d9aa2ae2fffce1c61acd2e9fe31e1db1cbc",
    "dit_sm-sfx_f16.npz": "7e702d2640699a57fe436ca975fda16832040ba568c1e092c2ae826987558118",
    "same_l_decoder_f32.npz": "84924be2122d3a20fce443f40b782d9cd88e8e73707476326003ac47659a2287",
    "same_s_decoder_f32.npz": "909928a8e6937c1ebe6ac4b729f0462bd3773704a11ea18278e42671dc69bfe4",
    "same_s_encoder_f32.npz": "a48f80d81c30d74c45e2a3047082c4891f715e24c44645adb9c1f4f07afdaf0c",
    "t5gemma_f16.npz": "8deb20489f36d9aec539f26c9c67321f99bc5fe300d470435ed6e76be4f16bbd",
}
MUSICGEN_SMALL = "830fe5771e2835cbd305f3ffdda22d3ff38718fbbe8274bd19dc203265de7244"
MUSICGEN_CODEC = "37d256b525d4117f8bbf790ab448a8e9f4746cd401900fe1ae72e154b1513a30"
T5 = "a90903540cc02cbeb7ff9f823f1a80eb778c7e22426a0e620b01c77a5ec8f5b4"
T5_CONFIG = "46dd7cb62d29c81fb551e0ef1ea274c24a46ba441eeb948897706252933df033"
T5_TOKENIZER = "d60acb128cf7b7f2536e8f38a5b18a05535c9e14c7a355904270e15b0945ea86"
