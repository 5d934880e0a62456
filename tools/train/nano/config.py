"""Sizes and token ids of Tutti Nano, as a Hugging Face qwen3_omni_moe config."""

VOCAB = 1024                 # byte-level BPE entries, then special tokens in Qwen's order
SPECIAL_BASE = 256 + 735     # id of the first special token
_SPECIAL_NAMES = (
    "endoftext im_start im_end object_ref_start object_ref_end box_start box_end quad_start "
    "quad_end vision_start vision_end vision_pad image_pad video_pad tool_call tool_call_end "
    "fim_prefix fim_middle fim_suffix fim_pad repo_name file_sep tool_response "
    "tool_response_end think think_end audio_start audio_end tts_pad tts_bos tts_eos "
    "tts_bos_single audio_pad").split()
ID = {name: SPECIAL_BASE + i for i, name in enumerate(_SPECIAL_NAMES)}

CODEBOOK = 512               # entries of each code group
GROUPS = 8                   # code groups of a frame
FRAME = 1920                 # samples of a codec frame (80 ms at 24 kHz)
WIDTH = 256                  # hidden size of thinker and talker

# Voice name -> flite voice that taught it. The first one is the default.
VOICES = {"hugo": "rms", "nora": "slt"}

# generate() suppresses the last 1024 ids of the talker vocabulary except the end token, so every
# special codec id lives there.
CODEC = dict(pad=CODEBOOK + 100, bos=CODEBOOK + 101, eos=CODEBOOK + 102, think=CODEBOOK + 106,
             nothink=CODEBOOK + 107, think_bos=CODEBOOK + 108, think_eos=CODEBOOK + 109)
SPEAKER = {name: CODEBOOK + 253 + i for i, name in enumerate(VOICES)}

IMAGE_SIDE = 192             # pictures are resized to this square
PATCH, MERGE = 16, 2
IMAGE_TOKENS = (IMAGE_SIDE // (PATCH * MERGE)) ** 2

_MROPE = dict(rope_type="default", rope_theta=1000000.0, mrope_section=[12, 10, 10],
              interleaved=True, mrope_interleaved=True)
_ROPE = dict(rope_type="default", rope_theta=1000000.0)
_DECODER = dict(hidden_size=WIDTH, num_attention_heads=4, num_key_value_heads=2, head_dim=64,
                hidden_act="silu", max_position_embeddings=32768, rms_norm_eps=1e-6,
                attention_bias=False, use_cache=True, tie_word_embeddings=False)


def _thinker(user_token_id):
    text = dict(_DECODER, model_type="qwen3_omni_moe_text", vocab_size=VOCAB,
                intermediate_size=768, num_hidden_layers=6, rope_parameters=dict(_MROPE),
                decoder_sparse_step=2, moe_intermediate_size=256, num_experts_per_tok=2,
                num_experts=4, norm_topk_prob=True, mlp_only_layers=[], initializer_range=0.02)
    audio = dict(model_type="qwen3_omni_moe_audio_encoder", num_mel_bins=128, encoder_layers=4,
                 encoder_attention_heads=4, encoder_ffn_dim=768, d_model=192,
                 max_source_positions=1500, n_window=50, output_dim=WIDTH, n_window_infer=800,
                 conv_chunksize=500, downsample_hidden_size=32, activation_function="gelu")
    vision = dict(model_type="qwen3_omni_moe_vision_encoder", depth=4, hidden_size=96,
                  hidden_act="gelu_pytorch_tanh", intermediate_size=288, num_heads=3,
                  in_channels=3, patch_size=PATCH, spatial_merge_size=MERGE,
                  temporal_patch_size=2, out_hidden_size=WIDTH,
                  num_position_embeddings=(IMAGE_SIDE // PATCH) ** 2,
                  deepstack_visual_indexes=[1, 2])
    return dict(model_type="qwen3_omni_moe_thinker", text_config=text, audio_config=audio,
                vision_config=vision, position_id_per_seconds=13, seconds_per_chunk=2,
                audio_token_id=ID["audio_pad"], image_token_id=ID["image_pad"],
                video_token_id=ID["video_pad"], audio_start_token_id=ID["audio_start"],
                audio_end_token_id=ID["audio_end"], vision_start_token_id=ID["vision_start"],
                vision_end_token_id=ID["vision_end"], user_token_id=user_token_id,
                tie_word_embeddings=False)


def _talker():
    text = dict(_DECODER, model_type="qwen3_omni_moe_talker_text", vocab_size=CODEBOOK + 1024,
                intermediate_size=512, num_hidden_layers=8, rope_parameters=dict(_MROPE),
                decoder_sparse_step=1, moe_intermediate_size=128, num_experts_per_tok=2,
                num_experts=4, norm_topk_prob=True, shared_expert_intermediate_size=448,
                mlp_only_layers=[])
    predictor = dict(_DECODER, model_type="qwen3_omni_moe_talker_code_predictor",
                     vocab_size=CODEBOOK, intermediate_size=512, num_hidden_layers=4,
                     rope_parameters=dict(_ROPE), num_code_groups=GROUPS)
    return dict(model_type="qwen3_omni_moe_talker", text_config=text,
                code_predictor_config=predictor, num_code_groups=GROUPS,
                thinker_hidden_size=WIDTH, accept_hidden_layer=3, spatial_merge_size=MERGE,
                codec_eos_token_id=CODEC["eos"], codec_nothink_id=CODEC["nothink"],
                codec_think_id=CODEC["think"], codec_think_bos_id=CODEC["think_bos"],
                codec_think_eos_id=CODEC["think_eos"], codec_pad_id=CODEC["pad"],
                codec_bos_id=CODEC["bos"], audio_token_id=ID["audio_pad"],
                image_token_id=ID["image_pad"], video_token_id=ID["video_pad"],
                vision_start_token_id=ID["vision_start"],
                audio_start_token_id=ID["audio_start"], audio_end_token_id=ID["audio_end"],
                position_id_per_seconds=13, seconds_per_chunk=2, output_hidden_size=WIDTH,
                speaker_id=dict(SPEAKER))


def _code2wav():
    return dict(model_type="qwen3_omni_moe_code2wav", codebook_size=CODEBOOK, hidden_size=WIDTH,
                max_position_embeddings=8000,
                rope_parameters=dict(rope_type="default", rope_theta=10000.0),
                num_attention_heads=4, num_key_value_heads=4, attention_bias=False,
                sliding_window=72, intermediate_size=512, hidden_act="silu",
                layer_scale_initial_scale=0.1, rms_norm_eps=1e-5, num_hidden_layers=3,
                num_quantizers=GROUPS, upsample_rates=[8, 5, 4, 3], upsampling_ratios=[2, 2],
                decoder_dim=384)


def make(tokenizer):
    """The whole config; the tokenizer gives the ids of the role names."""
    role = {name: tokenizer.encode(name)[0] for name in ("system", "user", "assistant")}
    return dict(architectures=["Qwen3OmniMoeForConditionalGeneration"],
                model_type="qwen3_omni_moe", thinker_config=_thinker(role["user"]),
                talker_config=_talker(), code2wav_config=_code2wav(), enable_audio_output=True,
                im_start_token_id=ID["im_start"], im_end_token_id=ID["im_end"],
                tts_pad_token_id=ID["tts_pad"], tts_bos_token_id=ID["tts_bos"],
                tts_eos_token_id=ID["tts_eos"], system_token_id=role["system"],
                user_token_id=role["user"], assistant_token_id=role["assistant"],
                dtype="bfloat16", tie_word_embeddings=False)
