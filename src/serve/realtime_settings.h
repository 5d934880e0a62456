// RealtimeSettings: a realtime session's configuration, as `session.update` changes it. An
// answer has a copy, which response.create may change (realtime_order.h).
//
// Thread: plain data.
#pragma once

#include <boost/json.hpp>
#include <optional>
#include <string>

#include "tutti/sampling_params.h"

#include "serve/fields.h"
#include "serve/model_info.h"
#include "serve/voice_activity.h"

namespace tutti::serve {

struct RealtimeSettings {
  std::string model;  // or an adapter of it; empty: the model itself
  std::string instructions;
  std::string voice;
  bool speech = true;
  double speed = 1;
  bool transcribe_input = false;
  std::string transcription_prompt;  // what to know beforehand
  // None: the client commits its turns itself.
  std::optional<VoiceActivityOptions> turn_detection = VoiceActivityOptions{};
  bool create_response = true;     // when a turn has ended
  bool interrupt_response = true;  // when the user begins to speak
  std::optional<double> temperature;
  std::optional<int32_t> max_output_tokens;

  // Takes over what a session.update gives, of OpenAI's present shape or its earlier one. Errors
  // name the field.
  void update(const boost::json::object& session, const ModelInfo& served, Status* error);
  boost::json::object json(const std::string& id, const ModelInfo& served) const;
  // {"format", "voice", "speed"} of answers.
  boost::json::object output_json(const ModelInfo& served) const;
  boost::json::value most_tokens_json() const;
};

constexpr int32_t kRealtimeRate = 24000;  // Hz, both ways

}  // namespace tutti::serve
