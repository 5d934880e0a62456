#include "orchestrator/tokenization.h"

#include <fmt/format.h>

#include <array>
#include <boost/json.hpp>
#include <vector>

#include "base/strings.h"

namespace tutti {
namespace {

namespace json = boost::json;

constexpr const char* kParam = "tokenization_kwargs";
constexpr const char* kAddSpecial = "add_special_tokens";
constexpr const char* kTruncate = "truncate_prompt_tokens";

Status wrong_value(const char* key, const json::value& value, const char* allowed) {
  return invalid_argument(fmt::format("`{}` of `{}` is {}; it must be {}.", key, kParam,
                                      json::serialize(value), allowed))
      .with_param(kParam);
}

}  // namespace

Result<Tokenization> parse_tokenization(const std::string& kwargs_json) {
  Tokenization out;
  if (kwargs_json.empty()) return out;
  json::error_code error;
  const json::value parsed = json::parse(kwargs_json, error);
  if (error || !parsed.is_object()) {
    return invalid_argument(fmt::format("`{}` must be a JSON object.", kParam)).with_param(kParam);
  }
  for (const auto& [key, value] : parsed.get_object()) {
    if (key == kAddSpecial) {
      if (!value.is_bool()) return wrong_value(kAddSpecial, value, "true or false");
      out.add_special_tokens = value.get_bool();
    } else if (key == kTruncate) {
      if (value.is_null()) continue;
      const int64_t tokens = value.is_int64() ? value.get_int64() : 0;
      if (tokens != -1 && tokens < 1) return wrong_value(kTruncate, value, "1 or larger, or -1");
      out.truncate_prompt_tokens = tokens;
    } else {
      const std::array<std::string, 2> known = {kAddSpecial, kTruncate};
      const std::string near = nearest(std::string_view(key), known);
      return invalid_argument(
                 fmt::format("`{}` has the unknown key '{}'; {}known are: {}.", kParam,
                             std::string_view(key),
                             near.empty() ? "" : fmt::format("did you mean '{}'? ", near),
                             join(known)))
          .with_param(kParam);
    }
  }
  return out;
}

}  // namespace tutti
