// What the endpoints need to know of the served model beside the engine: its names and stages.
//
// Thread: any.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tutti/async_omni_engine.h"

#include "serve/adapters.h"

namespace tutti::serve {

class ModelInfo {
 public:
  // The first name is the one that answers carry.
  ModelInfo(AsyncOmniEngine& engine, std::vector<std::string> served_names);

  AsyncOmniEngine& engine() const { return engine_; }
  const std::string& name() const { return names_.front(); }
  const std::vector<std::string>& names() const { return names_; }
  // The stage whose output is of the type, or -1.
  int32_t text_stage() const { return text_stage_; }
  int32_t audio_stage() const { return audio_stage_; }
  int64_t created() const { return created_; }
  // The characters of one token; what they are worth alone.
  std::string token_text(int32_t id) const {
    const InputProcessor* processor = engine_.input_processor();
    return processor ? processor->token_text(id) : std::string();
  }
  // Other names of voices, that clients know: "alloy" -> "hugo". Before the first client. Error: a
  // voice that the model has not, or a name that one of its voices has.
  Status set_voice_aliases(const std::map<std::string, std::string>& aliases);
  // The voice of that name or alias, whatever the case of its letters; none when there is none.
  std::optional<std::string> voice(std::string_view name) const;
  // Error 404 when neither the model nor an adapter of it is served by this name; lists what is.
  Status check_model(std::string_view model) const;
  // The adapter that requests of this name go through; none for the model itself.
  std::optional<LoraRequest> adapter(std::string_view model) const;
  Adapters& adapters() const { return adapters_; }

 private:
  bool is_own_name(std::string_view model) const;

  AsyncOmniEngine& engine_;
  mutable Adapters adapters_;
  const std::vector<std::string> names_;
  std::map<std::string, std::string, std::less<>> voices_;  // by name in lower case
  int32_t text_stage_ = -1;
  int32_t audio_stage_ = -1;
  const int64_t created_;
};

}  // namespace tutti::serve
