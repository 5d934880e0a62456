// RealtimeSettings: a realtime session's configuration, as `session.update` changes it.
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
  bool transcribe_input = false;
  // None: the client commits its turns itself.
  std::optional<VoiceActivityOptions> turn_detection = VoiceActivityOptions{};
  bool create_response = true;     // when a turn has ended
  bool interrupt_response = true;  // when the user begins to speak
  std::optional<double> temperature;
  std::optional<int32_t> max_output_tokens;

  // Takes over what the object gives, of OpenAI's present shape or its earlier one. Errors name the
  // field.
  void update(const boost::json::object& session, const ModelInfo& served, Status* error);
  boost::json::object json(const std::string& id, const ModelInfo& served) const;
};

constexpr int32_t kRealtimeRate = 24000;  // Hz, both ways

}  // namespace tutti::serve
