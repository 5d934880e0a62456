// Sound files to mono samples: wav, flac and ogg (vorbis, opus) with libsndfile, mp3 with
// libmpg123, in process; containers (m4a, webm, ...) through video_file.h, in a process of their
// own. Any sample rate and channel count.
//
// Thread: free functions, any thread. A file is decoded in blocks: what is held is the mono result.
// Errors are sentences without the item's name; the caller puts "audio 2: " before them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tutti/status.h"

namespace tutti {

struct AudioLimits {
  int64_t max_bytes = 256'000'000;  // of the file
  double max_seconds = 3600;        // of the sound, whatever the header says
};

// Samples of the mean over all channels, nominally in -1..1, at `sample_rate` Hz. Never empty.
// Errors: empty, no sound file, truncated or corrupt, no samples, samples that are no finite
// numbers, or past a limit (checked from the header first and again while decoding).
Result<std::vector<float>> decode_audio(std::span<const std::byte> bytes, int32_t sample_rate,
                                        const AudioLimits& limits = {});
Result<std::vector<float>> read_audio(const std::string& path, int32_t sample_rate,
                                      const AudioLimits& limits = {});

}  // namespace tutti
