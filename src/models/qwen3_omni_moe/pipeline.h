// The Qwen3-Omni-MoE pipeline: thinker -> talker -> code2wav.
//
// Thread: immutable after opening; stages may be loaded from different threads.
#pragma once

#include "models/pipeline.h"

namespace tutti::qwen3_omni_moe {

// Reads everything of options.model_dir but the weights. Without enable_audio_output the pipeline
// is the thinker alone.
Result<std::unique_ptr<Pipeline>> open(const LoadOptions& options);

}  // namespace tutti::qwen3_omni_moe
