#include "serve/voice_field.h"

#include <fmt/format.h>

#include "base/strings.h"
#include "serve/api_error.h"

namespace tutti::serve {

std::optional<std::string> read_voice(Fields& fields, const ModelInfo& model) {
  std::optional<std::string> voice;
  std::string path = fields.path_of("voice");
  const boost::json::value* value = fields.any("voice");
  if (value && value->is_object()) {
    Fields custom(value->get_object(), path, fields.error());
    voice = custom.string("id");
    if (fields.ok() && !voice) custom.missing("id", "the name of a voice");
    if (fields.ok()) custom.finish();
    path += ".id";
  } else {
    voice = fields.string("voice");
  }
  if (!fields.ok() || !voice) return std::nullopt;
  if (auto known = model.voice(*voice)) return known;
  fields.fail("voice", fmt::format("`{}` is '{}'; this model has: {}.", path, printable(*voice),
                                   join(model.engine().voices())));
  return std::nullopt;
}

}  // namespace tutti::serve
