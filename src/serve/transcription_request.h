// The request for the words of a sound.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "serve/model_info.h"

namespace tutti::serve {

// `sound`: a sound file. `prompt`: what to know beforehand, may be empty.
AddRequest transcription_request(const ModelInfo& model, std::string id,
                                 std::shared_ptr<const std::vector<std::byte>> sound,
                                 const std::string& prompt = {});

}  // namespace tutti::serve
