// AAC-LC in ADTS frames, with vo-aacenc.
#pragma once

#include "media/audio_encoder.h"

namespace tutti {

// Mono; 8000 to 96000 Hz, as AAC has them. Every frame has a header of its own, so that a stream
// can be played while it is written.
Result<std::unique_ptr<AudioEncoder>> make_aac_encoder(int32_t sample_rate);

}  // namespace tutti
