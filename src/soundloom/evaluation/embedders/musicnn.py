"""Load musicnn, an embedder and tagger of music. See `networks.musicnn` for the network and its source."""

from __future__ import annotations

from soundloom.checkpoints.formats.safetensors import read_safetensors
from soundloom.evaluation.embedders.base import Classifier, EmbedderInfo
from soundloom.evaluation.embedders.weights import PACKAGED, embedder_hash, require_weights

# Tags in the order of the logits, of MagnaTagATune and of the Million Song Dataset.
_MTT = (
    "guitar,classical,slow,techno,strings,drums,electronic,rock,fast,piano,ambient,beat,violin,vocal,synth,female,"
    "indian,opera,male,singing,vocals,no vocals,harpsichord,loud,quiet,flute,woman,male vocal,no vocal,pop,soft,sitar,"
    "solo,man,classic,choir,voice,new age,dance,male voice,female vocal,beats,harp,cello,no voice,weird,country,metal,"
    "female voice,choral"
)
_MSD = (
    "rock,pop,alternative,indie,electronic,female vocalists,dance,00s,alternative rock,jazz,beautiful,metal,chillout,"
    "male vocalists,classic rock,soul,indie rock,Mellow,electronica,80s,folk,90s,chill,instrumental,punk,oldies,blues,"
    "hard rock,ambient,acoustic,experimental,female vocalist,guitar,Hip-Hop,70s,party,country,easy listening,sexy,"
    "catchy,funk,electro,heavy metal,Progressive rock,60s,rnb,indie pop,sad,House,happy"
)
TAGS = {"musicnn": tuple(_MTT.split(",")), "musicnn-msd": tuple(_MSD.split(","))}


def load_musicnn(name: str = "musicnn", device: str | None = None) -> Classifier:
    """Load the embedder: 3 s at 16 kHz to 200 dimensions, and logits of 50 tags, of which several may apply."""
    from soundloom.evaluation.embedders.networks import musicnn
    from soundloom.evaluation.embedders.networks.run import Floats, NetworkEmbedder, load_weights

    class Musicnn(NetworkEmbedder):
        """An embedder that also tags."""

        network: musicnn.MusicnnNetwork

        def classify(self, windows: Floats) -> Floats:
            """Return logits (b, 50); probabilities are their sigmoids."""
            return self.run(windows, self.network.logits)

    weights = PACKAGED[name]
    tensors = read_safetensors(require_weights(weights))
    network = musicnn.MusicnnNetwork()
    load_weights(network, tensors, name)
    constants = [musicnn.RATE, musicnn.FRAME, musicnn.HOP, musicnn.FRAMES, musicnn.BANDS, musicnn.GAIN]
    info = EmbedderInfo(
        name,
        musicnn.RATE,
        musicnn.WINDOW,
        musicnn.DIMENSIONS,
        embedder_hash(weights.sha256, constants),
        weights.license,
        padding="repeat",
        labels=TAGS[name],
    )
    return Musicnn(info, network, device)
