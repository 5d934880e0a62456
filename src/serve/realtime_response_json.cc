#include "serve/realtime_response_json.h"

#include "base/strings.h"
#include "serve/api_error.h"
#include "serve/json_text.h"

namespace tutti::serve {

namespace json = boost::json;

json::object at_part(const char* type, const RealtimeResponse& response) {
  return {{"type", type},
          {"response_id", response.id},
          {"item_id", response.item.id},
          {"output_index", 0},
          {"content_index", 0}};
}

json::object at_item(const char* type, const RealtimeResponse& response, json::object item) {
  return {
      {"type", type}, {"response_id", response.id}, {"output_index", 0}, {"item", std::move(item)}};
}

json::object part_json(const RealtimeResponse& response) {
  const ItemPart& part = response.item.content.front();
  const std::string text = valid_utf8(part.text);
  return part.spoken ? json::object{{"type", "output_audio"}, {"transcript", text}}
                     : json::object{{"type", "output_text"}, {"text", text}};
}

json::object usage_json(const Answer& answer, const ModelInfo& model) {
  Usage usage;
  usage.add(answer, model);
  const int64_t out = usage.completion_tokens + usage.audio_tokens;
  return {{"input_tokens", usage.prompt_tokens},
          {"output_tokens", out},
          {"total_tokens", usage.prompt_tokens + out},
          {"input_token_details", {{"cached_tokens", usage.cached_tokens}}},
          {"output_token_details",
           {{"text_tokens", usage.completion_tokens}, {"audio_tokens", usage.audio_tokens}}}};
}

json::value outcome_json(std::string_view outcome, const std::string& cancelled,
                         const Status& error) {
  if (!cancelled.empty()) return json::object{{"type", "cancelled"}, {"reason", cancelled}};
  if (outcome == "incomplete")
    return json::object{{"type", "incomplete"}, {"reason", "max_output_tokens"}};
  if (error.ok()) return nullptr;
  return json::object{{"type", "failed"},
                      {"error",
                       {{"type", error_type(error.code())},
                        {"code", ascii_lower(status_code_name(error.code()))},
                        {"message", error.message()}}}};
}

}  // namespace tutti::serve
