// What POST /v1/audio/speech asks for, checked, and what it asks the engine for.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "media/audio_encoder.h"
#include "serve/http.h"
#include "serve/model_info.h"

namespace tutti::serve {

struct SpeechRequest {
  std::string model;
  std::string input;
  std::vector<std::string> sentences;  // of the input, never empty
  std::string instructions;
  std::string voice;
  AudioFormat format = AudioFormat::kMp3;
  double speed = 1;
  bool events = false;
  std::optional<uint64_t> seed;
};

// Errors name the field.
Result<SpeechRequest> read_speech(const ModelInfo& model, const HttpRequest& http);

// The sentence's own tokens are forced on the thinker: a voice reads what is written, and not what
// a model would answer.
Result<AddRequest> sentence_request(const ModelInfo& model, const SpeechRequest& speech,
                                    size_t sentence, std::string id);

}  // namespace tutti::serve
