#include "serve/realtime_order.h"

#include <fmt/format.h>

#include "serve/api_error.h"
#include "serve/realtime_fields.h"
#include "serve/realtime_items.h"
#include "serve/voice_field.h"

namespace tutti::serve {

namespace json = boost::json;

namespace {

void read_output(Fields& output, const ModelInfo& model, ResponseSettings& settings) {
  check_audio_format(output, "format");
  if (auto voice = read_voice(output, model)) settings.voice = std::move(voice);
  if (const auto speed = read_speed(output)) settings.speed = speed;
  if (output.ok()) output.finish();
}

void read_settings(Fields& response, const ModelInfo& model, ResponseSettings& settings) {
  settings.instructions = response.string("instructions");
  settings.speech = read_speech(response, model);
  settings.voice = read_voice(response, model);
  settings.speed = read_speed(response);
  check_audio_format(response, "output_audio_format");
  settings.temperature = response.number("temperature", 0, 2);
  settings.max_output_tokens = read_most_tokens(response);
  const json::object* object = response.object("audio");
  if (!object) return;
  Fields audio(*object, response.path_of("audio"), response.error());
  if (const json::object* out = audio.object("output")) {
    Fields output(*out, audio.path_of("output"), response.error());
    read_output(output, model, settings);
  }
  if (audio.ok()) audio.finish();
}

// OpenAI's bounds.
json::value read_metadata(Fields& response) {
  constexpr size_t kMostPairs = 16, kMostKey = 64, kMostValue = 512;
  const json::object* metadata = response.object("metadata");
  if (!metadata) return nullptr;
  const std::string path = response.path_of("metadata");
  if (metadata->size() > kMostPairs) {
    response.fail("metadata", fmt::format("`{}` has {} pairs; at most {} are allowed.", path,
                                          metadata->size(), kMostPairs));
  }
  for (const auto& pair : *metadata) {
    const std::string_view key(pair.key().data(), pair.key().size());
    const auto* text = pair.value().if_string();
    if (text && key.size() <= kMostKey && text->size() <= kMostValue) continue;
    response.fail("metadata",
                  fmt::format("`{}.{}`: keys have at most {} characters, and values are strings of "
                              "at most {}.",
                              path, printable(key), kMostKey, kMostValue));
  }
  return *metadata;
}

OrderItem read_input_item(const json::object& object, const std::string& path,
                          const ModelInfo& model, Status* error) {
  const json::value* type = object.if_contains("type");
  if (type && *type == "item_reference") {
    Fields reference(object, path, error);
    reference.accept({"type"});
    auto id = reference.string("id");
    if (!id && error->ok()) reference.missing("id", "the id of an item of the conversation");
    if (error->ok()) reference.finish();
    return ItemReference{id.value_or("")};
  }
  return read_item(object, path, model, error).value_or(ConversationItem());
}

std::optional<std::vector<OrderItem>> read_input(Fields& response, const ModelInfo& model) {
  const json::array* items = response.objects("input");
  if (!items) return std::nullopt;
  if (items->size() > Conversation::kMostItems) {
    response.fail("input",
                  fmt::format("`{}` has {} items; at most {} are allowed.",
                              response.path_of("input"), items->size(), Conversation::kMostItems));
  }
  std::vector<OrderItem> out;
  for (size_t i = 0; i < items->size() && response.ok(); ++i) {
    out.push_back(read_input_item((*items)[i].get_object(),
                                  fmt::format("{}[{}]", response.path_of("input"), i), model,
                                  response.error()));
  }
  return out;
}

}  // namespace

RealtimeSettings ResponseSettings::over(RealtimeSettings session) const {
  if (instructions) session.instructions = *instructions;
  if (voice) session.voice = *voice;
  if (speech) session.speech = *speech;
  if (speed) session.speed = *speed;
  if (temperature) session.temperature = temperature;
  if (max_output_tokens) session.max_output_tokens = *max_output_tokens;
  return session;
}

ResponseOrder read_order(const json::object& object, const ModelInfo& model, Status* error) {
  Fields response(object, "response", error);
  ResponseOrder order;
  read_settings(response, model, order.settings);
  order.out_of_band = response.choice("conversation", {"auto", "none"}).value_or("auto") == "none";
  order.metadata = read_metadata(response);
  refuse_tools(response);
  refuse(response, "prompt", "no prompts are stored here");
  if (error->ok()) order.input = read_input(response, model);
  response.accept({"input"});
  if (error->ok()) response.finish();
  return order;
}

}  // namespace tutti::serve
