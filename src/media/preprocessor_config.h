// The preprocessor settings of a model directory, in either of transformers' layouts:
// preprocessor_config.json with video_preprocessor_config.json, or one processor_config.json.
//
// Thread: free functions, any thread. What the extractors here cannot do (another interpolation,
// dithering, an unknown extractor) is an error that names the file, the key and the value.
#pragma once

#include <string>

#include "tutti/status.h"

#include "media/image_features.h"
#include "media/mel.h"
#include "media/video_file.h"

namespace tutti {

struct PreprocessorConfig {
  MelConfig mel;
  PatchConfig image;
  PatchConfig video;
  FrameSampling sampling;
};

Result<PreprocessorConfig> load_preprocessor_config(const std::string& model_dir);

}  // namespace tutti
