// Rotary positions (temporal, height, width) of a prompt with pictures, clips and sounds.
//
// Thread: a free function, any thread.
#pragma once

#include <span>

#include "models/qwen3_omni_moe/prompt_media.h"
#include "models/rope_index.h"

namespace tutti::qwen3_omni_moe {

// Text and sound advance all three by one per token. A picture or clip lies at one start: rows and
// columns of its merge squares count from there, and so does time, position_id_per_seconds a
// second, which can be a fraction; what follows begins behind the largest of the three. A clip's
// sound (audio_in_video) starts with its frames and is merged into them by time. A prompt without
// pictures and clips is text throughout.
// Source: get_rope_index of transformers' qwen3_omni_moe, step by step, so that mixtures come out
// alike; where that fails on an odd prompt, the rest is laid out as text.
// start: the first position, of a prompt that continues another.
RopeIndex media_positions(const ThinkerConfig& config, std::span<const int32_t> ids,
                          const PromptMedia& media, float start = 0);

}  // namespace tutti::qwen3_omni_moe
