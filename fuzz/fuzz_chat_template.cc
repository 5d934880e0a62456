// Any bytes as a chat template: an error, or text within the bounds.
#include <boost/json/parse.hpp>

#include "text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const boost::json::value context = boost::json::parse(R"({
    "messages": [
      {"role": "system", "content": "Be brief."},
      {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image"}]},
      {"role": "assistant", "content": "Hello.", "tool_calls": [
        {"function": {"name": "f", "arguments": {"x": 1.5, "y": [null, true]}}}]},
      {"role": "tool", "content": "42"}],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
    "add_generation_prompt": true})");
  const auto parsed =
      tutti::text::ChatTemplate::parse(std::string(reinterpret_cast<const char*>(data), size));
  if (parsed.ok()) (void)(*parsed)->render(context.as_object(), {.now = 0});
  return 0;
}
